// SPDX-License-Identifier: Apache-2.0

package federation_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func newParty(t *testing.T, c federation.Config) *federation.Party {
	t.Helper()
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	p, err := federation.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func attempt() federation.Attempt {
	return federation.Attempt{
		State: strings.Repeat("s", 43), Nonce: strings.Repeat("n", 43), Verifier: strings.Repeat("v", 43),
		RedirectURI: "https://auth.example.com/login/callback/okta",
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

// TestAuthURL: the request that a browser carries to the provider.
func TestAuthURL(t *testing.T) {
	idp := loginfake.New(t)
	got, err := newParty(t, federation.Config{}).AuthURL(t.Context(),
		&directory.Provider{Issuer: idp.Issuer, ClientID: "c1", Scopes: []string{"email", "groups"}}, attempt())
	if err != nil {
		t.Fatal(err)
	}
	want := idp.Issuer + "/authorize?" + url.Values{
		"client_id": {"c1"}, "redirect_uri": {"https://auth.example.com/login/callback/okta"}, "response_type": {"code"},
		"scope": {"openid email groups"}, "state": {strings.Repeat("s", 43)}, "nonce": {strings.Repeat("n", 43)},
		"code_challenge": {"7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"}, "code_challenge_method": {"S256"},
	}.Encode()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAuthURLProof: what a login is asked for besides.
func TestAuthURLProof(t *testing.T) {
	idp := loginfake.New(t)
	for _, tc := range []struct {
		again bool
		proof federation.Proof
		want  url.Values
	}{
		{true, federation.Proof{}, url.Values{"prompt": {"login"}}},
		{false, federation.Proof{Consent: true}, url.Values{"prompt": {"consent"}}},
		{true, federation.Proof{Consent: true}, url.Values{"prompt": {"login consent"}}},
		{
			false,
			federation.Proof{Claims: `{"id_token":{}}`, ACRValues: "a b", MaxAge: 90*time.Second + time.Millisecond},
			url.Values{"claims": {`{"id_token":{}}`}, "acr_values": {"a b"}, "max_age": {"90"}},
		},
	} {
		a := attempt()
		a.Again, a.Proof = tc.again, tc.proof
		to, err := newParty(t, federation.Config{}).AuthURL(t.Context(), &directory.Provider{
			Issuer: idp.Issuer, ClientID: "c1", Scopes: []string{"email"}, Kept: &directory.Kept{Scopes: []string{"offline_access", "email", "openid"}},
		}, a)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if got := q.Get("scope"); got != "openid email offline_access" {
			t.Errorf("scope is %q", got)
		}
		for _, name := range []string{"prompt", "claims", "acr_values", "max_age"} {
			if got := q.Get(name); got != tc.want.Get(name) {
				t.Errorf("%+v: %s is %q, want %q", tc.proof, name, got, tc.want.Get(name))
			}
		}
	}
}

// TestDiscoveryDocument: documents that cannot be used.
func TestDiscoveryDocument(t *testing.T) {
	set := func(name string, value any) loginfake.Behavior {
		return loginfake.Behavior{Metadata: func(m map[string]any) { m[name] = value }}
	}
	for _, tc := range []struct {
		name     string
		behavior loginfake.Behavior
		reason   string
	}{
		{"good", loginfake.Behavior{}, ""},
		{"another issuer", set("issuer", "https://evil.example"), "ISSUER_MISMATCH"},
		{"no issuer", set("issuer", ""), "ISSUER_MISMATCH"},
		{"plain token endpoint elsewhere", set("token_endpoint", "http://idp.example/token"), "PROVIDER_DOCUMENT"},
		{"plain keys elsewhere", set("jwks_uri", "http://idp.example/jwks"), "PROVIDER_DOCUMENT"},
		{"user information in a URL", set("token_endpoint", "https://a:b@idp.example/token"), "PROVIDER_DOCUMENT"},
		{"authorization endpoint of another scheme", set("authorization_endpoint", "javascript:alert(1)"), "PROVIDER_DOCUMENT"},
		{"no token endpoint", set("token_endpoint", ""), "PROVIDER_DOCUMENT"},
		{"no keys", set("jwks_uri", ""), "PROVIDER_DOCUMENT"},
		{"plain UserInfo elsewhere", set("userinfo_endpoint", "http://idp.example/u"), "PROVIDER_DOCUMENT"},
		{"404", loginfake.Behavior{Discovery: http.NotFound}, "PROVIDER_UNREACHABLE"},
		{"no JSON", loginfake.Behavior{Discovery: text("<html>")}, "PROVIDER_UNREACHABLE"},
		{"2 MiB", loginfake.Behavior{Discovery: text(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`)}, "PROVIDER_UNREACHABLE"},
		{"redirect", loginfake.Behavior{Discovery: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/jwks", http.StatusFound)
		}}, "PROVIDER_UNREACHABLE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			idp := loginfake.New(t)
			idp.Set(tc.behavior)
			at, err := newParty(t, federation.Config{}).AuthURL(t.Context(), &directory.Provider{Issuer: idp.Issuer, ClientID: "c1"}, attempt())
			if reason(err) != tc.reason || (at == "") != (err != nil) {
				t.Errorf("%q, %v", at, err)
			}
		})
	}
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(body))
	}
}

// TestPlainIssuer: outside this machine an issuer has TLS.
func TestPlainIssuer(t *testing.T) {
	for _, issuer := range []string{"http://idp.example", "http://10.0.0.1", "ftp://idp.example", "", "idp.example"} {
		if _, err := newParty(t, federation.Config{}).AuthURL(t.Context(), &directory.Provider{Issuer: issuer, ClientID: "c1"}, attempt()); reason(err) != "PROVIDER_DOCUMENT" {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

// TestDiscoveryCache: once an hour, once for many at a time, and through an outage of a day.
func TestDiscoveryCache(t *testing.T) {
	idp := loginfake.New(t)
	var late atomic.Int64
	p := newParty(t, federation.Config{Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) }})
	ask := func() error {
		_, err := p.AuthURL(t.Context(), &directory.Provider{Issuer: idp.Issuer, ClientID: "c1"}, attempt())
		return err
	}
	count := func() int {
		idp.Lock()
		defer idp.Unlock()
		return idp.Discoveries
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := count(); n != 1 {
		t.Errorf("20 logins at once asked %d times", n)
	}
	for _, step := range []struct {
		after  time.Duration
		down   bool
		reason string
		asked  int
	}{
		{59 * time.Minute, false, "", 1},
		{2 * time.Minute, false, "", 2},
		{61 * time.Minute, true, "", 3},
		{30 * time.Second, true, "", 3}, // not at every login
		{time.Minute, true, "", 4},
		{24 * time.Hour, true, "PROVIDER_UNREACHABLE", 5},
		{0, true, "PROVIDER_UNREACHABLE", 6},
		{0, false, "", 7},
	} {
		late.Add(int64(step.after))
		b := loginfake.Behavior{}
		if step.down {
			b.Discovery = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
		}
		idp.Set(b)
		if err := ask(); reason(err) != step.reason || count() != step.asked {
			t.Errorf("%+v: %v, asked %d times", step, err, count())
		}
	}
}

// TestGuard: the client's dialer decides what is reached, and the reason does not say what an address resolved to.
func TestGuard(t *testing.T) {
	idp := loginfake.New(t)
	p := newParty(t, federation.Config{HTTP: &http.Client{Transport: &http.Transport{DialContext: egress.Policy{}.DialContext}}})
	_, err := p.AuthURL(t.Context(), &directory.Provider{Issuer: idp.Issuer, ClientID: "c1"}, attempt())
	if reason(err) != "PROVIDER_UNREACHABLE" || !strings.Contains(err.Error(), egress.ReasonRefused) {
		t.Error(err)
	}
	if idp.Discoveries != 0 {
		t.Error("the provider was asked")
	}
}

// TestSilentProvider: a provider that does not answer costs a login no more than its own patience.
func TestSilentProvider(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := &http.Client{Timeout: 100 * time.Millisecond}
	began := time.Now()
	_, err = newParty(t, federation.Config{HTTP: silent}).AuthURL(t.Context(), &directory.Provider{Issuer: "http://" + l.Addr().String(), ClientID: "c1"}, attempt())
	if reason(err) != "PROVIDER_UNREACHABLE" || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestErrorsTellNothing: what a token endpoint says does not end up in an error.
func TestErrorsTellNothing(t *testing.T) {
	for name, body := range map[string]string{
		"error":    `{"error":"canary_CANARY","error_description":"CANARY"}`,
		"no JSON":  "CANARY",
		"no token": `{"id_token":"CANARY"}`,
	} {
		t.Run(name, func(t *testing.T) {
			idp := loginfake.New(t)
			status := http.StatusOK
			if name == "error" {
				status = http.StatusBadRequest
			}
			idp.Set(loginfake.Behavior{Token: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				w.Write([]byte(body))
			}})
			_, err := newParty(t, federation.Config{}).Finish(t.Context(), &directory.Provider{Issuer: idp.Issuer, ClientID: "c1"}, "CANARY-secret",
				url.Values{"code": {"CANARY-code"}}, attempt())
			if reason(err) != "CODE_REFUSED" || strings.Contains(err.Error(), "CANARY") {
				t.Error(err)
			}
		})
	}
}

// TestTLSProvider: an issuer with TLS may not lead to plain endpoints, not even on this machine.
func TestTLSProvider(t *testing.T) {
	var issuer string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain := strings.Replace(issuer, "https", "http", 1)
		text(`{"issuer":"`+issuer+`","authorization_endpoint":"`+issuer+`/a","token_endpoint":"`+plain+`/t","jwks_uri":"`+issuer+`/j"}`)(w, nil)
	}))
	defer s.Close()
	issuer = s.URL
	_, err := newParty(t, federation.Config{HTTP: s.Client()}).AuthURL(t.Context(), &directory.Provider{Issuer: issuer, ClientID: "c1"}, attempt())
	if reason(err) != "PROVIDER_DOCUMENT" {
		t.Error(err)
	}
}
