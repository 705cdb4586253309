// SPDX-License-Identifier: Apache-2.0

// Package unproven reads what a JWT says before anybody has checked it: to choose what it is checked as, or to spare a request that
// cannot succeed. Nothing may be granted on its word. It knows no keys, issuers or kinds of tokens.
package unproven

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Type returns the typ of the header of a token in compact form, in lower case and without "application/" (RFC 8725 §3.11), empty if it
// has none. It is false if the header cannot be read.
func Type(compact string) (typ string, ok bool) {
	head, _, _ := strings.Cut(compact, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return "", false
	}
	var header struct {
		Typ string `json:"typ"`
	}
	if json.Unmarshal(text, &header) != nil {
		return "", false
	}
	return strings.TrimPrefix(strings.ToLower(header.Typ), "application/"), true
}

// Claims decodes the claims of a compact JWS, and reports whether the token is one (RFC 7515 §3.1).
func Claims(compact string, into any) bool {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(text, into) == nil
}

// Texts is a claim that is one text or several (RFC 7519 §4.1.3).
type Texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Texts) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*t = Texts{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(t))
}
