// SPDX-License-Identifier: Apache-2.0

package idjag

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

const (
	// maxAssertion bounds an assertion in bytes, before anything of it is read.
	maxAssertion = 16 << 10
	// assertionType is the typ of its header.
	assertionType = "oauth-id-jag+jwt"
)

// token is an assertion of which nothing is verified.
type token struct {
	compact   string
	algorithm string
	issuer    string // for looking the provider up, and nothing else (JAG-2)
}

// parse reads a compact JWS. The type comes before everything else: an ID token or an access token of the same provider is
// none (JAG-1, RFC 8725 §3.11). A header that names keys, or that must be understood, is refused: keys are the provider's.
func parse(text string) (token, error) {
	if len(text) > maxAssertion {
		return token{}, refuse("assertion_malformed")
	}
	head, rest, ok := strings.Cut(text, ".")
	body, signature, more := strings.Cut(rest, ".")
	header, err := decoded(head)
	if err != nil || !ok || !more {
		return token{}, refuse("assertion_malformed")
	}
	h := reader{members: header}
	typ := strings.ToLower(h.text("typ"))
	if strings.TrimPrefix(typ, "application/") != assertionType {
		return token{}, refuse("assertion_type")
	}
	for _, name := range []string{"jwk", "jku", "x5u", "crit", "b64", "zip"} {
		if h.has(name) {
			return token{}, refuse("assertion_header")
		}
	}
	t := token{compact: text, algorithm: h.required("alg")}
	payload, err := decoded(body)
	if err != nil {
		return token{}, refuse("assertion_malformed")
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(signature); err != nil {
		return token{}, refuse("assertion_malformed")
	}
	p := reader{members: payload}
	t.issuer = p.required("iss")
	if h.err != nil || p.err != nil {
		return token{}, refuse("assertion_malformed")
	}
	return t, nil
}

// decoded reads a part of a JWS that is a JSON object.
func decoded(part string) (map[string]json.RawMessage, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, err
	}
	return object(raw)
}

// object reads a JSON object, and nothing beside it, in which no name is there twice: two readers of one that has it twice
// could see two assertions.
func object(raw []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is no object")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if _, twice := members[key]; twice {
			return nil, errors.New("a member is there twice")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the object")
	}
	return members, nil
}
