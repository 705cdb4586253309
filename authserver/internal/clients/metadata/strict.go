// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxDepth bounds how deep the JSON is nested. A key set in a document needs four levels.
const maxDepth = 16

// object returns the members of a JSON object: one value, valid UTF-8, no key twice in any object, nested at most maxDepth.
// Names are compared exactly, which encoding/json does not do for structs.
func object(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := value(d, 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, errors.New("it is no JSON object")
	}
	return members, nil
}

// value reads one value.
func value(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return errors.New("it is no JSON")
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	if depth >= maxDepth {
		return errors.New("it is nested too deep")
	}
	if open == '{' {
		err = pairs(d, depth+1)
	} else {
		err = items(d, depth+1)
	}
	if err != nil {
		return err
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return errors.New("it is no JSON")
	}
	return nil
}

func pairs(d *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return errors.New("it is no JSON")
		}
		if seen[key] {
			return errors.New("a key is there twice")
		}
		seen[key] = true
		if err := value(d, depth); err != nil {
			return err
		}
	}
	return nil
}

func items(d *json.Decoder, depth int) error {
	for d.More() {
		if err := value(d, depth); err != nil {
			return err
		}
	}
	return nil
}
