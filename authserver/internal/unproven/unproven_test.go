// SPDX-License-Identifier: Apache-2.0

package unproven_test

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/unproven"
)

func part(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestType(t *testing.T) {
	for compact, want := range map[string]string{
		part(`{"typ":"JWT"}`) + ".x.y": "jwt", part(`{"typ":"application/SecEvent+jwt"}`) + ".x.y": "secevent+jwt", part(`{}`): "",
		part(`{"typ":1}`) + ".x.y": "-", part(`[]`) + ".x.y": "-", "!.x.y": "-", "": "-",
	} {
		typ, ok := unproven.Type(compact)
		if !ok {
			typ = "-"
		}
		if typ != want {
			t.Errorf("%q: %q, want %q", compact, typ, want)
		}
	}
}

func TestClaims(t *testing.T) {
	for compact, want := range map[string][]string{
		"h." + part(`{"aud":"a"}`) + ".s": {"a"}, "h." + part(`{"aud":["a","b"]}`) + ".s": {"a", "b"}, "h." + part(`{}`) + ".s": {},
		"h." + part(`{"aud":1}`) + ".s": nil, "h." + part(`{"aud":"a"}`): nil, "h." + part(`{"aud":"a"}`) + ".s.e.e": nil, "h.!.s": nil, "opaque": nil,
	} {
		var c struct {
			Audience unproven.Texts `json:"aud"`
		}
		ok := unproven.Claims(compact, &c)
		if ok != (want != nil) || ok && !slices.Equal(c.Audience, want) {
			t.Errorf("%q: %v, %v; want %v", compact, c.Audience, ok, want)
		}
	}
}
