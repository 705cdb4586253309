// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/keyset"
)

// house is a view with one gateway for the team eng and tokens of every kind.
type house struct {
	holder *view.Holder
	tokens map[string]string
	used   []string
}

// nobody is no identity provider's keys: the tests of a whole node have real ones.
type nobody struct{}

// Key implements ProviderKeys.
func (nobody) Key(context.Context, *view.Provider, string, string) (*keyset.Key, error) {
	return nil, nil
}

func now() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// config is that of an authenticator whose node hears its control plane.
func config() Config {
	return Config{
		Now: now, Used: func(string) {}, Failed: func(context.Context, string) {}, Issuer: &signer{}, Providers: nobody{}, Resources: "https://gw.example.com/v1/mcp/",
		StaleFor: func() time.Duration { return 0 }, MaxStale: 24 * time.Hour,
	}
}

func newAuthenticator(t testing.TB, c Config) *Authenticator {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{holder: view.NewHolder(), tokens: make(map[string]string)}
	b := view.From(nil)
	for _, name := range []string{"ada", "bob", "gone"} {
		b.PutUser(name, &view.User{Name: name, UID: "uid-" + name, Deactivated: name == "gone"})
	}
	b.PutTeam("eng", &view.Team{Name: "eng", UID: "uid-eng", Members: map[string]struct{}{"ada": {}, "gone": {}}})
	b.PutTeam("ops", &view.Team{Name: "ops", UID: "uid-ops", Members: map[string]struct{}{"bob": {}}})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
		Name: "eng", UID: "uid-gw", BearerTokens: true, Visibility: compile.Visibility{Teams: []string{"eng"}},
	}})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
		Name: "all", UID: "uid-all", BearerTokens: true, Visibility: compile.Visibility{Organization: true},
	}})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
		Name: "mine", UID: "uid-mine", BearerTokens: true, Visibility: compile.Visibility{Owner: "ada"},
	}})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
		Name: "off", UID: "uid-off", BearerTokens: true, Disabled: true, Visibility: compile.Visibility{Organization: true},
	}})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "closed", UID: "uid-closed", Visibility: compile.Visibility{Organization: true}}})
	for _, name := range []string{"ada", "bob", "gone"} {
		h.token(b, name, ident.KindUser, compile.OwnerUser, name, time.Time{})
	}
	h.token(b, "old", ident.KindUser, compile.OwnerUser, "ada", now())
	h.token(b, "team", ident.KindTeam, compile.OwnerTeam, "eng", time.Time{})
	h.token(b, "other-team", ident.KindTeam, compile.OwnerTeam, "ops", time.Time{})
	h.token(b, "org", ident.KindOrganization, compile.OwnerOrganization, "", time.Time{})
	h.token(b, "robot", ident.KindServiceAccount, compile.OwnerServiceAccount, "robot", time.Time{})
	h.rotated(b, "laptop", now().Add(time.Second), now().Add(time.Hour))
	h.rotated(b, "phone", now(), now().Add(time.Hour))
	h.rotated(b, "tablet", now().Add(time.Hour), now())
	h.tokens["unknown"], _ = ident.MintBearer(ident.KindUser)
	h.tokens["garbled"] = h.tokens["ada"][:len(h.tokens["ada"])-1] + "!"
	h.tokens["wrong-crc"] = flip(h.tokens["ada"])
	h.tokens["refresh"] = "psr_" + h.tokens["ada"][6:]
	h.holder.Publish(b.Build("epoch", 1))
	return h
}

func (h *house) token(b *view.Builder, name string, kind ident.Kind, owner compile.OwnerKind, who string, expires time.Time) {
	text, hash := ident.MintBearer(kind)
	h.tokens[name] = text
	b.PutToken(hash, &view.Token{
		Name: name, UID: "uid-token-" + name, OwnerKind: owner, Owner: who, Expires: expires,
		Gateways: map[string]struct{}{"eng": {}, "all": {}, "mine": {}, "off": {}},
	})
}

// rotated puts a token of ada in the view that was rotated: $before-<name> and $after-<name> end at the given times.
func (h *house) rotated(b *view.Builder, name string, previous, expires time.Time) {
	text, hash := ident.MintBearer(ident.KindUser)
	old, oldHash := ident.MintBearer(ident.KindUser)
	h.tokens["after-"+name], h.tokens["before-"+name] = text, old
	r := &resourcev1.BearerToken{
		Name: name, Uid: "uid-token-" + name, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: "ada"}}, Gateways: []string{"eng"},
		Sha256: hash[:], ExpireTime: timestamppb.New(expires), PreviousSha256: oldHash[:], PreviousExpireTime: timestamppb.New(previous),
	}
	sha, token, err := compile.MakeToken(r)
	if err != nil {
		panic(err)
	}
	oldSHA, before, err := compile.MakePreviousToken(r, token)
	if err != nil {
		panic(err)
	}
	b.PutToken(sha, token)
	b.PutToken(oldSHA, before)
}

// flip changes the last digit of a token to another one.
func flip(token string) string {
	last := byte('0')
	if token[len(token)-1] == last {
		last = '1'
	}
	return token[:len(token)-1] + string(last)
}

func TestAuthenticate(t *testing.T) {
	h := newHouse(t)
	tests := []struct {
		name    string
		gateway string
		header  []string // values of Authorization; $name is a token
		query   string
		want    string // principal key, or fault reason
	}{
		{"user in the team", "eng", []string{"Bearer $ada"}, "", "user:uid-ada"},
		{"scheme in lower case (RS-8)", "eng", []string{"bearer $ada"}, "", "user:uid-ada"},
		{"user outside the team (RS-6)", "eng", []string{"Bearer $bob"}, "", ReasonNoAccess},
		{"user at an organisation gateway", "all", []string{"Bearer $bob"}, "", "user:uid-bob"},
		{"owner at a personal gateway", "mine", []string{"Bearer $ada"}, "", "user:uid-ada"},
		{"somebody else at a personal gateway", "mine", []string{"Bearer $bob"}, "", ReasonNoAccess},
		{"deactivated user (ST-9)", "eng", []string{"Bearer $gone"}, "", ReasonTokenInvalid},
		{"expired token", "eng", []string{"Bearer $old"}, "", ReasonTokenInvalid},
		{"rotated token, new (ST-6)", "eng", []string{"Bearer $after-laptop"}, "", "user:uid-ada"},
		{"rotated token, old, in the overlap (ST-6)", "eng", []string{"Bearer $before-laptop"}, "", "user:uid-ada"},
		{"rotated token, old, at another gateway (ST-5)", "all", []string{"Bearer $before-laptop"}, "", ReasonTokenInvalid},
		{"rotated token, new, after the overlap (ST-6)", "eng", []string{"Bearer $after-phone"}, "", "user:uid-ada"},
		{"rotated token, old, after the overlap (ST-6)", "eng", []string{"Bearer $before-phone"}, "", ReasonTokenInvalid},
		{"rotated token, new, expired (ST-4)", "eng", []string{"Bearer $after-tablet"}, "", ReasonTokenInvalid},
		{"rotated token, old, of an expired one (ST-6)", "eng", []string{"Bearer $before-tablet"}, "", ReasonTokenInvalid},
		{"team token", "eng", []string{"Bearer $team"}, "", "team:uid-eng"},
		{"token of another team", "eng", []string{"Bearer $other-team"}, "", ReasonNoAccess},
		{"team token at a personal gateway", "mine", []string{"Bearer $team"}, "", ReasonNoAccess},
		{"team token at an organisation gateway", "all", []string{"Bearer $team"}, "", "team:uid-eng"},
		{"organisation token at a team gateway", "eng", []string{"Bearer $org"}, "", ReasonNoAccess},
		{"organisation token", "all", []string{"Bearer $org"}, "", "organization:organization"},
		{"service account, by its grant", "eng", []string{"Bearer $robot"}, "", "service_account:robot"},
		{"disabled gateway (RS-6)", "off", []string{"Bearer $ada"}, "", ReasonNoAccess},
		{"gateway not on the token's list (ST-5)", "closed", []string{"Bearer $ada"}, "", ReasonTokenInvalid},
		{"gateway without bearer tokens, no token (G-3)", "closed", nil, "", ReasonNotReady},
		{"unknown token", "eng", []string{"Bearer $unknown"}, "", ReasonTokenInvalid},
		{"wrong checksum (ST-1)", "eng", []string{"Bearer $wrong-crc"}, "", ReasonTokenInvalid},
		{"garbled token", "eng", []string{"Bearer $garbled"}, "", ReasonTokenInvalid},
		{"refresh token as bearer", "eng", []string{"Bearer $refresh"}, "", ReasonTokenInvalid},
		{"no token (RS-3)", "eng", nil, "", ReasonTokenMissing},
		{"another scheme (RS-7)", "eng", []string{"Basic dTpw"}, "", ReasonTokenMissing},
		{"Bearer without a token (RS-7)", "eng", []string{"Bearer"}, "", ReasonMalformed},
		{"Bearer and blanks (RS-7)", "eng", []string{"Bearer  "}, "", ReasonMalformed},
		{"two headers (RS-7)", "eng", []string{"Bearer $ada", "Bearer $ada"}, "", ReasonMalformed},
		{"two tokens in one header", "eng", []string{"Bearer $ada,Bearer $ada"}, "", ReasonMalformed},
		{"token in the query (ST-8)", "eng", nil, "access_token=$ada", ReasonMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.used = nil
			var failures []string
			c := config()
			c.Used = func(token string) { h.used = append(h.used, token) }
			c.Failed = func(_ context.Context, reason string) { failures = append(failures, reason) }
			a := newAuthenticator(t, c)
			r := httptest.NewRequest("POST", "/v1/mcp/"+tt.gateway+"?"+h.fill(tt.query), nil)
			for _, v := range tt.header {
				r.Header.Add("Authorization", h.fill(v))
			}
			s := h.holder.Load()
			p, err := a.Authenticate(s, s.Gateway(tt.gateway), r)
			got := p.Key()
			if err != nil {
				f := fault.From(err)
				got = f.Reason
				for _, token := range h.tokens {
					if strings.Contains(f.Public+f.Error(), token) {
						t.Errorf("the fault holds a token: %s", f.Public)
					}
				}
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if accepted := err == nil; accepted != (len(h.used) == 1) {
				t.Errorf("accepted %v, but noted uses %v", accepted, h.used)
			}
			if err != nil != slices.Equal(failures, []string{got}) {
				t.Errorf("refused with %s, but counted %v (G-61)", got, failures)
			}
		})
	}
}

// fill puts tokens in the place of $names.
func (h *house) fill(text string) string {
	for name, token := range h.tokens {
		text = strings.ReplaceAll(text, "$"+name, token)
	}
	return text
}

// RS-4 and case 145: every wrong token gets the same answer.
func TestInvalidTokensLookAlike(t *testing.T) {
	h := newHouse(t)
	a := newAuthenticator(t, config())
	s := h.holder.Load()
	var first *fault.Fault
	for _, name := range []string{"unknown", "wrong-crc", "garbled", "old", "gone", "refresh"} {
		r := httptest.NewRequest("POST", "/v1/mcp/eng", nil)
		r.Header.Set("Authorization", "Bearer "+h.tokens[name])
		_, err := a.Authenticate(s, s.Gateway("eng"), r)
		f := fault.From(err)
		if first == nil {
			first = f
		}
		if diff := cmp.Diff([]string{first.Reason, first.Public}, []string{f.Reason, f.Public}); diff != "" {
			t.Errorf("%s differs (-first +got):\n%s", name, diff)
		}
	}
}

// D-30: what a denial takes away is gone before the view that contains it arrives.
func TestDenials(t *testing.T) {
	tests := []struct {
		name string
		key  view.Key
		want string
	}{
		{"token", view.Key{Kind: "bearer_token", Name: "ada"}, ReasonTokenInvalid},
		{"user", view.Key{Kind: "user", Name: "ada"}, ReasonTokenInvalid},
		{"team", view.Key{Kind: "team", Name: "eng"}, ReasonNoAccess},
		{"team member", view.Key{Kind: "team_member", Name: "eng/ada"}, ReasonNoAccess},
		{"gateway", view.Key{Kind: "gateway", Name: "eng"}, ReasonNoAccess},
		{"something else", view.Key{Kind: "team_member", Name: "eng/bob"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			h.holder.Deny(2, []view.Key{tt.key})
			a := newAuthenticator(t, config())
			r := httptest.NewRequest("POST", "/v1/mcp/eng", nil)
			r.Header.Set("Authorization", "Bearer "+h.tokens["ada"])
			s := h.holder.Load()
			_, err := a.Authenticate(s, s.Gateway("eng"), r)
			got := ""
			if err != nil {
				got = fault.From(err).Reason
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
