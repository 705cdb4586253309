// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func hours(n float64) *resource.Duration {
	d := resource.Duration(n * float64(time.Hour))
	return &d
}

// mint makes a token and returns its secret.
func (o *org) mint(t *catalog.BearerToken) string {
	o.t.Helper()
	w, err := o.Create(o.t.Context(), o.as("root"), t, catalog.WriteOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	return w.Token
}

// rotation rotates a token as root.
func (o *org) rotation(name string, opt catalog.RotateOptions) (secret string, t *catalog.BearerToken) {
	o.t.Helper()
	w, err := o.RotateToken(o.t.Context(), o.as("root"), name, opt)
	if err != nil {
		o.t.Fatal(err)
	}
	return w.Token, w.Object.(*catalog.BearerToken)
}

// stored returns what the store has of a token: its second key and its body.
func (o *org) storedToken(name string) (lookup string, body []byte) {
	o.t.Helper()
	if _, err := o.store.Snapshot(o.t.Context(), func(r *catalog.Record) error {
		if r.Kind == catalog.KindBearerToken && r.Name == name {
			lookup, body = r.Lookup, r.Body
		}
		return nil
	}); err != nil {
		o.t.Fatal(err)
	}
	return lookup, body
}

// A token keeps its name and everything else, and has two secrets until the overlap is over (ST-6).
func TestRotateToken(t *testing.T) {
	for _, tc := range []struct {
		name              string
		opt               catalog.RotateOptions
		expires, previous time.Duration // from the rotation, a day before the token expires; 0 means none
		denied            bool
	}{
		{"24 h are the default (ST-6)", catalog.RotateOptions{TTL: days(30)}, 30 * 24 * time.Hour, 24 * time.Hour, false},
		{"an hour", catalog.RotateOptions{Overlap: hours(1)}, 24 * time.Hour, time.Hour, false},
		{"never longer than the token", catalog.RotateOptions{Overlap: hours(24), TTL: hours(2)}, 2 * time.Hour, 2 * time.Hour, false},
		{"never longer than before", catalog.RotateOptions{TTL: days(365)}, 365 * 24 * time.Hour, 24 * time.Hour, false},
		{"at once (ST-6)", catalog.RotateOptions{Overlap: hours(0)}, 24 * time.Hour, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(gateway("gw", seenBy()))
			tok := token(ownedBy("bob"), "gw")
			tok.Name, tok.TTL, tok.Scopes = "laptop", days(10), []string{"mcp"}
			first := o.mint(tok)
			before := get[*catalog.BearerToken](o, catalog.KindBearerToken, "laptop")
			lookup, _ := o.storedToken("laptop")
			o.now = o.now.Add(9 * 24 * time.Hour)
			second, got := o.rotation("laptop", tc.opt)
			kind, sha, ok := ident.ParseBearer(second)
			if !ok || kind != ident.KindUser || second == first {
				t.Fatalf("the new secret is %d characters of kind %q", len(second), kind)
			}
			want := *before
			want.Etag, want.UpdateTime, want.ExpireTime = got.Etag, got.UpdateTime, o.now.Add(tc.expires)
			if tc.previous > 0 {
				want.PreviousExpireTime = o.now.Add(tc.previous)
			}
			diff(t, "token", &want, got)
			if got.Etag == before.Etag {
				t.Error("the etag is the old one")
			}
			now, body := o.storedToken("laptop")
			var stored struct {
				Previous []byte `json:"previous_sha256"`
			}
			if err := json.Unmarshal(body, &stored); err != nil {
				t.Fatal(err)
			}
			_, firstSHA, _ := ident.ParseBearer(first)
			if now == lookup || !bytes.Equal(stored.Previous, firstSHA[:]) || strings.Contains(string(body), "previous_expire_time") != (tc.previous > 0) ||
				strings.Contains(string(body), second) || now != hex.EncodeToString(sha[:]) {
				t.Errorf("stored under %s: %s", now, body)
			}
			if change := o.last(); slices.Contains(change.Denials, catalog.Key{Kind: catalog.KindBearerToken, Name: "laptop"}) != tc.denied {
				t.Errorf("denials %v", change.Denials)
			}
			o.now = o.now.Add(tc.previous)
			if again := get[*catalog.BearerToken](o, catalog.KindBearerToken, "laptop"); !again.PreviousExpireTime.IsZero() || len(again.PreviousSHA256) > 0 {
				t.Errorf("after the overlap: %v", again.PreviousExpireTime)
			}
			page, err := o.List(t.Context(), o.as("root"), catalog.KindBearerToken, catalog.ListOptions{})
			if err != nil || len(page.Objects) != 1 || len(page.Objects[0].(*catalog.BearerToken).PreviousSHA256) > 0 {
				t.Errorf("the list shows a hash, %v", err)
			}
		})
	}
}

// What a rotation refuses, and who may (ST-6): as who may create the token.
func TestRotateTokenRefusals(t *testing.T) {
	const bad, none = "invalid INVALID_FIELD", "not_found RESOURCE_NOT_FOUND"
	for _, tc := range []struct {
		name, who, token string
		opt              catalog.RotateOptions
		want, field      string
	}{
		{"by its owner", "bob", "bobs", catalog.RotateOptions{}, "", ""},
		{"by an ADMIN", "root", "bobs", catalog.RotateOptions{}, "", ""},
		{"by somebody else", "ada", "bobs", catalog.RotateOptions{}, none, ""},
		{"by a team admin", "ada", "engs", catalog.RotateOptions{}, "", ""},
		{"by a team member", "bob", "engs", catalog.RotateOptions{}, none, ""},
		{"of a machine by an EDITOR", "edna", "machine", catalog.RotateOptions{}, none, ""},
		{"no such token", "root", "nothing", catalog.RotateOptions{}, none, ""},
		{"expired", "root", "short", catalog.RotateOptions{TTL: days(1)}, "precondition TOKEN_EXPIRED", ""},
		{"24 h and a bit (ST-6)", "root", "bobs", catalog.RotateOptions{Overlap: hours(24.001)}, bad, "overlap"},
		{"before now", "root", "bobs", catalog.RotateOptions{Overlap: hours(-1)}, bad, "overlap"},
		{"366 days (ST-4)", "root", "bobs", catalog.RotateOptions{TTL: days(366)}, bad, "ttl"},
		{"no time", "root", "bobs", catalog.RotateOptions{TTL: days(0)}, bad, "ttl"},
		{"stale etag", "root", "bobs", catalog.RotateOptions{Etag: "0123456789abcdef"}, "conflict ETAG_STALE", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(gateway("gw", seenBy()))
			for name, owner := range map[string]*resource.Owner{"bobs": ownedBy("bob"), "engs": ownedBy("eng"), "machine": {ServiceAccount: "ci"}, "short": everybody()} {
				tok := token(owner, "gw")
				if tok.Name = name; name == "short" {
					tok.TTL = hours(1)
				}
				o.mint(tok)
			}
			o.now = o.now.Add(time.Hour)
			for _, validateOnly := range []bool{true, false} {
				head := o.head()
				tc.opt.ValidateOnly = validateOnly
				w, err := o.RotateToken(t.Context(), o.as(tc.who), tc.token, tc.opt)
				wantRefusal(t, err, tc.want)
				wantField(t, err, tc.field)
				if wrote := o.head() != head; wrote != (tc.want == "" && !validateOnly) || wrote != (w.Token != "") {
					t.Errorf("validate only %v: it was written: %v, and a secret shown: %v", validateOnly, wrote, w.Token != "")
				}
			}
		})
	}
}

// The admin API takes both secrets until the overlap is over, and no other; deleting the token ends both (ST-6, ST-7).
func TestAuthenticateRotated(t *testing.T) {
	o := newOrg(t)
	opens := func(step string, want bool, secrets ...string) {
		t.Helper()
		for i, secret := range secrets {
			caller, err := o.Authenticate(t.Context(), secret)
			if (err == nil) != want || want && caller.TokenName != "admin" {
				t.Errorf("%s: secret %d opens the admin API: %v (%v)", step, i, err == nil, err)
			}
			if !want {
				wantRefusal(t, err, "unauthenticated TOKEN_REFUSED")
			}
		}
	}
	first := o.mint(&catalog.BearerToken{Meta: named("admin"), Owner: ownedBy("edna"), AdminAPI: true, TTL: days(10)})
	opens("first", true, first)
	second, _ := o.rotation("admin", catalog.RotateOptions{})
	opens("rotated", true, first, second)
	o.now = o.now.Add(24*time.Hour - time.Second)
	opens("a second before the end", true, first, second)
	o.now = o.now.Add(time.Second)
	opens("the overlap is over", false, first)
	opens("the overlap is over", true, second)
	third, _ := o.rotation("admin", catalog.RotateOptions{Overlap: hours(1)})
	fourth, _ := o.rotation("admin", catalog.RotateOptions{Overlap: hours(1)})
	opens("twice", false, first, second)
	opens("twice", true, third, fourth)
	fifth, _ := o.rotation("admin", catalog.RotateOptions{Overlap: hours(0)})
	opens("without an overlap", false, first, second, third, fourth)
	opens("without an overlap", true, fifth)
	sixth, _ := o.rotation("admin", catalog.RotateOptions{TTL: hours(2)})
	o.now = o.now.Add(2 * time.Hour)
	opens("expired", false, fifth, sixth)
	o.mint(&catalog.BearerToken{Meta: named("other"), Owner: ownedBy("edna"), AdminAPI: true})
	seventh, _ := o.rotation("other", catalog.RotateOptions{})
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindBearerToken, "other", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	opens("revoked", false, seventh)
}

// old nodes lack the words that they are asked for.
type oldNodes []string

func (n oldNodes) Lacking(string) []string { return n }

func (oldNodes) LackingAuthservers(string) []string { return nil }

// A node that knows nothing of rotation would refuse the old secret at once: with an overlap, it is named (D-37).
func TestRotateWithOldNodes(t *testing.T) {
	o := newOrg(t)
	o.create(gateway("gw", seenBy()))
	tok := token(ownedBy("bob"), "gw")
	tok.Name = "laptop"
	o.mint(tok)
	o.mint(&catalog.BearerToken{Meta: named("admin"), Owner: ownedBy("edna"), AdminAPI: true})
	c := catalog.New(catalog.Config{Store: o.store, Nodes: oldNodes{"node-b", "node-a"}, Now: func() time.Time { return o.now }})
	for _, tc := range []struct {
		name, token, want string
		overlap           *resource.Duration
	}{
		{"with an overlap", "laptop", "precondition NODE_LACKS_CAPABILITY", nil},
		{"without one", "laptop", "", hours(0)},
		{"for the admin API", "admin", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.RotateToken(t.Context(), o.as("root"), tc.token, catalog.RotateOptions{Overlap: tc.overlap})
			wantRefusal(t, err, tc.want)
			if tc.want != "" {
				wantField(t, err, "overlap")
				wantRefusal(t, err, tc.want, "node-a, node-b; update them first, or rotate with an overlap of 0")
			}
		})
	}
}
