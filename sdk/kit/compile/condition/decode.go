// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"encoding/json"
	"errors"
	"strconv"
)

// errNotOne is JSON that readers may understand differently, or no object.
var errNotOne = errors.New("not one JSON object with unique names")

// decodeObject decodes a JSON object: objects to map[string]any, arrays to []any, numbers without fraction and exponent to int64 if
// they fit, all others to float64. A name that stands twice in an object is an error: a server may take the other one.
//
// Every call with a policy on arguments pays for it, and encoding/json makes four times as many allocations.
func decodeObject(raw []byte) (map[string]any, error) {
	if !json.Valid(raw) {
		return nil, errNotOne
	}
	d := decoder{rest: string(raw)} // one copy: names and texts are parts of it
	v, err := d.value()
	m, ok := v.(map[string]any)
	if err == nil && !ok {
		err = errNotOne
	}
	return m, err
}

// decoder reads JSON that is known to be valid, so that it need not look for errors of the grammar.
type decoder struct{ rest string }

// next skips white space and what separates values, and returns the first byte after it.
func (d *decoder) next() byte {
	for {
		switch c := d.rest[0]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			d.rest = d.rest[1:]
		default:
			return c
		}
	}
}

func (d *decoder) value() (any, error) {
	switch d.next() {
	case '{':
		return d.members()
	case '[':
		return d.elements()
	case '"':
		return d.text()
	case 't':
		d.rest = d.rest[len("true"):]
		return true, nil
	case 'f':
		d.rest = d.rest[len("false"):]
		return false, nil
	case 'n':
		d.rest = d.rest[len("null"):]
		return nil, nil
	default:
		return d.number()
	}
}

func (d *decoder) members() (any, error) {
	m := make(map[string]any)
	for d.rest = d.rest[1:]; d.next() != '}'; {
		name, err := d.text()
		if err != nil {
			return nil, err
		}
		if _, twice := m[name]; twice {
			return nil, errNotOne
		}
		if m[name], err = d.value(); err != nil {
			return nil, err
		}
	}
	d.rest = d.rest[1:]
	return m, nil
}

func (d *decoder) elements() (any, error) {
	list := []any{}
	for d.rest = d.rest[1:]; d.next() != ']'; {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	d.rest = d.rest[1:]
	return list, nil
}

// text reads a string; encoding/json reads those with escapes, or with characters that may be no valid UTF-8.
func (d *decoder) text() (string, error) {
	plain := true
	i := 1
	for ; d.rest[i] != '"'; i++ {
		if d.rest[i] == '\\' {
			i++
			plain = false
		} else if d.rest[i] >= 0x80 {
			plain = false
		}
	}
	quoted := d.rest[:i+1]
	d.rest = d.rest[i+1:]
	if plain {
		return quoted[1:i], nil
	}
	var s string
	err := json.Unmarshal([]byte(quoted), &s)
	return s, err //nolint:wrapcheck // nobody is told what it says
}

func (d *decoder) number() (any, error) {
	i, whole := 0, true
	for ; i < len(d.rest); i++ {
		c := d.rest[i]
		if c == '.' || c == 'e' || c == 'E' {
			whole = false
		} else if c != '-' && c != '+' && (c < '0' || c > '9') {
			break
		}
	}
	text := d.rest[:i]
	d.rest = d.rest[i:]
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err //nolint:wrapcheck // nobody is told what it says
}
