// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// redacted is what a secret that is set looks like.
const redacted = "[redacted]"

// input is a value as one layer gives it: text, or from a file also a list or
// a map of texts. more says that a list grows instead of starting anew.
type input struct {
	text string
	list []string
	dict map[string]string
	form form
	more bool
}

type form uint8

const (
	formText form = iota
	formList
	formDict
)

func textInput(s string) input { return input{text: s} }

func (in input) isRedacted() bool { return in.form == formText && in.text == redacted }

// assign parses in and stores it in the field. Errors are phrases that follow
// the setting's path.
func (st *setting) assign(in input) error {
	t := st.value.Type()
	switch {
	case t.Kind() == reflect.Slice && !isText(t):
		return st.assignList(in)
	case t.Kind() == reflect.Map && !isText(t):
		return st.assignDict(in)
	case in.form != formText:
		return errors.New("is a single value, not a list or mapping")
	}
	if err := st.checkEnum(in.text); err != nil {
		return err
	}
	return parseScalar(st.value, in.text)
}

// assignList takes a list, or text with commas between the elements.
func (st *setting) assignList(in input) error {
	elements := in.list
	switch in.form {
	case formDict:
		return errors.New("is a list, not a mapping")
	case formText:
		elements = split(in.text)
	case formList:
	}
	list := reflect.MakeSlice(st.value.Type(), len(elements), len(elements))
	for i, e := range elements {
		if err := st.checkEnum(e); err != nil {
			return err
		}
		if err := parseScalar(list.Index(i), e); err != nil {
			return fmt.Errorf("element %d %w", i+1, err)
		}
	}
	if in.more {
		list = reflect.AppendSlice(st.value, list)
	}
	st.value.Set(list)
	return nil
}

// assignDict takes a mapping, or text with key=value pairs between commas.
func (st *setting) assignDict(in input) error {
	pairs := in.dict
	switch in.form {
	case formList:
		return errors.New("is a mapping, not a list")
	case formText:
		pairs = map[string]string{}
		for _, e := range split(in.text) {
			k, v, ok := strings.Cut(e, "=")
			if !ok || k == "" {
				return errors.New("is not a list of key=value")
			}
			pairs[k] = v
		}
	case formDict:
	}
	t := st.value.Type()
	dict := reflect.MakeMapWithSize(t, len(pairs))
	if in.more {
		for _, k := range st.value.MapKeys() {
			dict.SetMapIndex(k, st.value.MapIndex(k))
		}
	}
	for k, v := range pairs {
		e := reflect.New(t.Elem()).Elem()
		if err := parseScalar(e, v); err != nil {
			return fmt.Errorf("entry %q %w", k, err)
		}
		dict.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), e)
	}
	st.value.Set(dict)
	return nil
}

func (st *setting) checkEnum(text string) error {
	if len(st.enum) == 0 || slices.Contains(st.enum, text) {
		return nil
	}
	return fmt.Errorf("is %q, which is not one of %s", text, strings.Join(st.enum, ", "))
}

func split(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func parseScalar(v reflect.Value, text string) error {
	if isText(v.Type()) {
		u, _ := v.Addr().Interface().(encoding.TextUnmarshaler) // isText has looked
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("is %q: %w", text, err)
		}
		return nil
	}
	if isDuration(v.Type()) {
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("is %q, neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("is %q, not a number", text)
		}
		v.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return wholeNumber(text, err)
		}
		v.SetUint(n)
	default: // the signed integers: supported has looked
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return wholeNumber(text, err)
		}
		v.SetInt(n)
	}
	return nil
}

func wholeNumber(text string, err error) error {
	if errors.Is(err, strconv.ErrRange) || strings.HasPrefix(text, "-") {
		return fmt.Errorf("is %q, which is out of range", text)
	}
	return fmt.Errorf("is %q, not a whole number", text)
}

// text returns the value for people; secrets are hidden by the caller.
func scalarText(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return FormatDuration(d)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}

// elements returns the texts of a list, or the sorted key=value pairs of a
// map; ok is false for a scalar.
func (st *setting) elements() (texts []string, ok bool) {
	if isText(st.value.Type()) {
		return nil, false
	}
	switch st.value.Kind() {
	case reflect.Slice:
		for i := range st.value.Len() {
			texts = append(texts, scalarText(st.value.Index(i)))
		}
		return texts, true
	case reflect.Map:
		pairs := st.pairs()
		for _, k := range slices.Sorted(maps.Keys(pairs)) {
			texts = append(texts, k+"="+pairs[k])
		}
		return texts, true
	default:
		return nil, false
	}
}

func (st *setting) pairs() map[string]string {
	pairs := map[string]string{}
	for it := st.value.MapRange(); it.Next(); {
		pairs[it.Key().String()] = scalarText(it.Value())
	}
	return pairs
}

// text returns the value on one line; "[redacted]" for a secret that is set.
func (st *setting) text() string {
	if st.secret {
		if st.isEmpty() {
			return ""
		}
		return redacted
	}
	if texts, ok := st.elements(); ok {
		return strings.Join(texts, ",")
	}
	return scalarText(st.value)
}

func (st *setting) isEmpty() bool {
	switch st.value.Kind() {
	case reflect.Slice, reflect.Map:
		return st.value.Len() == 0
	default:
		return st.value.IsZero()
	}
}
