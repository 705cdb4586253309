// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName   = 256
	maxURI    = 2048
	maxBytes  = 10 << 20
	maxListed = 64 << 10
	maxDepth  = 128
)

// Definition is one tool as its server described it.
type Definition struct {
	Name string
	// Raw is the JSON object, byte for byte.
	Raw []byte
	// Hash is the SHA-256 of the canonical form, in hexadecimal: members sorted by name, white space removed, strings
	// and numbers as JSON values rather than spellings — but numbers keep their digits, since 1 and 1.0 may mean
	// different things to a schema.
	Hash string
	// Retryable says that the annotations mark the tool read-only or idempotent (MCP, ToolAnnotations).
	Retryable bool
}

// Parse reads a definition as it came in tools/list.
func Parse(raw []byte) (Definition, error) {
	if len(raw) > maxBytes {
		return Definition{}, errors.New("it has more than 10 MiB")
	}
	// A map, because member names are exact: encoding/json would take "NAME" for a struct's name.
	object, err := open(raw)
	if err != nil {
		return Definition{}, err
	}
	name, err := text(object, "name", maxName)
	if err != nil {
		return Definition{}, err
	}
	var canonical bytes.Buffer
	if err := write(&canonical, object, 0); err != nil {
		return Definition{}, err
	}
	sum := sha256.Sum256(canonical.Bytes())
	annotations, _ := object["annotations"].(map[string]any)
	return Definition{
		Name: name, Raw: raw, Hash: hex.EncodeToString(sum[:]),
		Retryable: annotations["readOnlyHint"] == true || annotations["idempotentHint"] == true,
	}, nil
}

// PromptName reads the name out of a prompt's definition as it came in prompts/list.
func PromptName(raw []byte) (string, error) { return listed(raw, "name", maxName) }

// TemplateURI reads the uriTemplate out of a resource template's definition as it came in resources/templates/list.
func TemplateURI(raw []byte) (string, error) { return listed(raw, "uriTemplate", maxURI) }

func listed(raw []byte, member string, most int) (string, error) {
	if len(raw) > maxListed {
		return "", errors.New("it has more than 64 KiB")
	}
	object, err := open(raw)
	if err != nil {
		return "", err
	}
	return text(object, member, most)
}

// text returns a member that names what is defined.
func text(object map[string]any, member string, most int) (string, error) {
	name, _ := object[member].(string)
	switch {
	case name == "":
		return "", fmt.Errorf("it has no %s", member)
	case len(name) > most:
		return "", fmt.Errorf("its %s has more than %d bytes", member, most)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("its %s has characters that cannot be printed", member)
	}
	return name, nil
}

// Object reports whether raw is one JSON object.
func Object(raw []byte) bool {
	_, err := open(raw)
	return err == nil
}

// open decodes a JSON object; numbers keep their digits.
func open(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil || v == nil {
		return nil, errors.New("it is not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its JSON object")
	}
	return v, nil
}

// write appends a value in canonical form, so that equal definitions have equal bytes.
func write(b *bytes.Buffer, v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteByte(',')
			}
			writeScalar(b, k)
			b.WriteByte(':')
			if err := write(b, v[k], depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := write(b, e, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		writeScalar(b, v)
	}
	return nil
}

func writeScalar(b *bytes.Buffer, v any) {
	text, _ := json.Marshal(v) // it came out of a decoder
	b.Write(text)
}
