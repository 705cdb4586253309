// SPDX-License-Identifier: Apache-2.0

package ident_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestPrincipalKeyAndHash(t *testing.T) {
	for _, tc := range []struct {
		name      string
		principal ident.Principal
		key, hash string
	}{
		{"user", ident.Principal{Kind: ident.KindUser, UID: "u1"}, "user:u1", "6daf61bb15aa1c6e"},
		{"team", ident.Principal{Kind: ident.KindTeam, UID: "u1"}, "team:u1", ""},
		{"organisation", ident.Principal{Kind: ident.KindOrganization, UID: ident.OrganizationUID}, "organization:organization", ""},
		{"service account", ident.Principal{Kind: ident.KindServiceAccount, UID: "ci"}, "service_account:ci", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.principal.Key(); got != tc.key {
				t.Errorf("key %s, want %s", got, tc.key)
			}
			same := tc.principal
			same.Name, same.TokenID = "other@example.com", "t2"
			if same.Hash() != tc.principal.Hash() || len(same.Hash()) != 16 {
				t.Errorf("hash %s depends on more than the key, or is not 16 digits", same.Hash())
			}
			if tc.hash != "" && tc.principal.Hash() != tc.hash {
				t.Errorf("hash %s, want %s: logs of two releases would not match", tc.principal.Hash(), tc.hash)
			}
		})
	}
}

func TestPrincipalNeverPrintsItsName(t *testing.T) {
	p := ident.Principal{
		Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", Method: "bearer_token",
		TokenID: "tok-canary", ClientID: "client-canary",
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("call", "who", p, "pointer", &p)
	}
	out := log.String() + fmt.Sprintf("%v %+v %#v %s %q", p, p, p, p, p) + fmt.Sprintf("%+v %#v", &p, struct{ P ident.Principal }{p})
	for _, canary := range []string{"ada@", "canary"} {
		if strings.Contains(out, canary) {
			t.Errorf("%q is printed: %s", canary, out)
		}
	}
	if !strings.Contains(out, p.Hash()) {
		t.Errorf("the hash is not printed: %s", out)
	}
}
