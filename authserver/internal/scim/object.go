// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

const (
	defaultCount = 100
	maxCount     = 200
)

// object is a JSON object. Names of attributes are compared in any case (RFC 7643 §2.1).
type object map[string]any

func readObject(body io.Reader) (object, error) {
	d := json.NewDecoder(body)
	d.UseNumber()
	var o object
	err := d.Decode(&o)
	if err == nil && d.More() {
		err = errors.New("there is more than one value")
	}
	switch _, long := errors.AsType[*http.MaxBytesError](err); {
	case long:
		return nil, err
	case err != nil, o == nil:
		return nil, bad(invalidSyntax, "The body is not one JSON object.")
	}
	return o, nil
}

func (o object) get(name string) any {
	if v, ok := o[name]; ok {
		return v
	}
	for key, v := range o {
		if strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}

// scalar unwraps what Entra sends for a single value: the value, a list of it, or an object that has it as "value".
func scalar(v any) any {
	if list, ok := v.([]any); ok && len(list) == 1 {
		v = list[0]
	}
	if o, ok := v.(map[string]any); ok {
		return object(o).get("value")
	}
	return v
}

// text reads a string; nothing is an empty one.
func text(name string, v any) (string, error) {
	switch v := scalar(v).(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case json.Number:
		return v.String(), nil
	default:
		return "", bad(invalidValue, name+" must be a string.")
	}
}

// truth reads a boolean. Entra sends "True" and "False" as strings.
func truth(name string, v any) (bool, error) {
	switch v := scalar(v).(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, bad(invalidValue, name+" must be true or false.")
}

// objects reads a list of objects, or one alone.
func objects(name string, v any) ([]object, error) {
	var out []object
	list, ok := v.([]any)
	if !ok && v != nil {
		list = []any{v}
	}
	for _, one := range list {
		o, ok := one.(map[string]any)
		if !ok {
			return nil, bad(invalidValue, name+" must be a list of objects.")
		}
		out = append(out, o)
	}
	return out, nil
}

// pathForm is a path of PATCH (RFC 7644 §3.5.2): an attribute, perhaps with a filter of its values, perhaps with a
// sub-attribute.
var pathForm = regexp.MustCompile(`^([A-Za-z$][\w$-]*)(\[[^\[\]]*\])?(\.[A-Za-z$][\w$-]*)?$`)

// attribute reads a path: the attribute in lower case, and what comes after it, in brackets or after a dot. The URN of a schema
// before it is left out.
func attribute(path string) (name, rest string, ok bool) {
	if strings.HasPrefix(strings.ToLower(path), "urn:") {
		before, filter, _ := strings.Cut(path, "[")
		path = before[strings.LastIndexByte(before, ':')+1:]
		// "2.0:User" at the end is the URN alone: an extension as a whole.
		if strings.Contains(path, "[") || filter != "" {
			path += "[" + filter
		}
	}
	m := pathForm.FindStringSubmatch(path)
	if m == nil {
		return "", "", false
	}
	return strings.ToLower(m[1]), m[2] + m[3], true
}

// comparison is the one filter that is served: attribute eq "value" (RFC 7644 §3.4.2.2).
var comparison = regexp.MustCompile(`(?i)^\s*([a-z$][\w$.:-]*)\s+eq\s+("(?:[^"\\]|\\.)*")\s*$`)

// equal reads a filter.
func equal(filter string) (attr, value string, ok bool) {
	m := comparison.FindStringSubmatch(filter)
	if m == nil || json.Unmarshal([]byte(m[2]), &value) != nil {
		return "", "", false
	}
	if strings.HasPrefix(strings.ToLower(m[1]), "urn:") {
		return strings.ToLower(m[1][strings.LastIndexByte(m[1], ':')+1:]), value, true
	}
	return strings.ToLower(m[1]), value, true
}

// wanted reads filter, startIndex and count of a list. name is the attribute that is the name of such a resource. none is true
// for a filter that nothing can match.
func (c *call) wanted(name string) (w directory.Wanted, start int, none bool, err error) {
	q := c.r.URL.Query()
	start, count := 1, defaultCount
	for key, at := range map[string]*int{"startIndex": &start, "count": &count} {
		if given := q.Get(key); given != "" {
			if *at, err = strconv.Atoi(given); err != nil {
				return w, 0, false, bad(invalidValue, key+" must be a whole number.")
			}
		}
	}
	start, count = min(max(start, 1), 1<<30), min(max(count, 0), maxCount) // RFC 7644 §3.4.2.4
	w = directory.Wanted{Skip: uint32(start - 1), Count: uint32(count)}
	filter := q.Get("filter")
	if filter == "" {
		return w, start, false, nil
	}
	attr, value, ok := equal(filter)
	switch {
	case !ok:
		return w, 0, false, bad(invalidFilter, `Filters have the form: attribute eq "value".`)
	case attr == strings.ToLower(name):
		w.Name = value
	case attr == "externalid":
		w.ExternalID = value
	case attr == "id":
		w.UID = value
	default:
		return w, 0, false, bad(invalidFilter, "Filters may compare "+name+", externalId and id.")
	}
	return w, start, value == "" || len(value) > 254 || w.UID != "" && len(w.UID) > 64, nil
}
