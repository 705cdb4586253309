// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// schema is a settings struct, described.
type schema struct {
	settings []*setting // in the order of the struct
	groups   []group    // inner ones before outer ones; the last is the root
	byPath   map[string]*setting
	byEnv    map[string]*setting
	byFlag   map[string]*setting // dotted and kebab names
}

// group is a struct in the settings; the root has the empty path.
type group struct {
	path  string
	value reflect.Value
}

// setting is one leaf.
type setting struct {
	path, env, flag string
	help, def       string
	hasDefault      bool
	secret, port    bool
	enum            []string
	value           reflect.Value
	origin          Origin
}

// revealer is how a secret type gives its value; obs.Secret is one. It stands
// here so that reading settings does not link all of telemetry.
type revealer interface {
	Reveal() string
}

func describe(settings any) (*schema, error) {
	v := reflect.ValueOf(settings)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, broken("settings are not a pointer to a struct")
	}
	s := &schema{byPath: map[string]*setting{}, byEnv: map[string]*setting{}, byFlag: map[string]*setting{}}
	if err := s.walk("", v.Elem()); err != nil {
		return nil, err
	}
	s.groups = append(s.groups, group{"", v.Elem()})
	return s, nil
}

func (s *schema) walk(prefix string, v reflect.Value) error {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			if err := s.walk(prefix, value); err != nil { // its fields are the outer struct's
				return err
			}
			continue
		}
		if !field.IsExported() {
			continue
		}
		name := field.Tag.Get("name")
		if name == "" {
			name = snake(field.Name)
		}
		path := join(prefix, name)
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return broken("setting " + path + " is not in snake case")
		}
		if field.Type.Kind() == reflect.Struct && !isText(field.Type) {
			if s.isGroup(path) || s.byPath[path] != nil {
				return broken("group " + path + " has the name of another setting or group")
			}
			if err := s.walk(path, value); err != nil {
				return err
			}
			s.groups = append(s.groups, group{path, value})
			continue
		}
		if err := s.add(path, field, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) add(path string, field reflect.StructField, value reflect.Value) error {
	if !supported(field.Type) {
		return broken("setting " + path + " has the type " + field.Type.String() + ", which cannot be read")
	}
	env := Prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
	st := &setting{
		path:  path,
		env:   env,
		flag:  strings.NewReplacer(".", "-", "_", "-").Replace(path),
		help:  field.Tag.Get("help"),
		port:  field.Tag.Get("port") == "shift",
		value: value,
	}
	if st.port && !hasPort(field.Type) {
		return broken("setting " + path + " has a port to shift but is no text")
	}
	st.def, st.hasDefault = field.Tag.Lookup("default")
	_, reveals := reflect.Zero(field.Type).Interface().(revealer)
	st.secret = reveals || field.Tag.Get("secret") == "true"
	if list := field.Tag.Get("enum"); list != "" {
		st.enum = strings.Split(list, ",")
	}
	if s.byPath[path] != nil || s.byEnv[env] != nil || s.byFlag[st.flag] != nil || isReserved(st.flag) || s.isGroup(path) {
		return broken("setting " + path + " has the name of another one")
	}
	s.byPath[path], s.byEnv[env], s.byFlag[path], s.byFlag[st.flag] = st, st, st, st
	s.settings = append(s.settings, st)
	return nil
}

func (s *schema) isGroup(path string) bool {
	for _, g := range s.groups {
		if g.path == path {
			return true
		}
	}
	for _, st := range s.settings {
		if strings.HasPrefix(st.path, path+".") {
			return true
		}
	}
	return false
}

// supported reports whether a value of type t can be read from text: a scalar,
// a list of scalars, or a map from string to scalars.
func supported(t reflect.Type) bool {
	if isText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.Slice:
		return isScalar(t.Elem())
	case reflect.Map:
		return t.Key().Kind() == reflect.String && isScalar(t.Elem())
	default:
		return isScalar(t)
	}
}

func isScalar(t reflect.Type) bool {
	if isText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

// snake turns CallTimeout into call_timeout and JWKSURL into jwksurl: a name
// with initials in it gets a name tag.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(runes[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func join(prefix, name string) string {
	if prefix == "" || name == "" {
		return prefix + name
	}
	return prefix + "." + name
}

func broken(why string) error {
	return fault.New(fault.Bug, ReasonStruct, "The settings cannot be described: "+why+".")
}
