// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

const (
	partyLink     = "/connect/party"
	partyCallback = "/login/callback/party"
	suiteAnswer   = "{ \"error\":\"of the suite\" }\n"
)

// party is Penstock as a provider sees it, and the suite's provider. A link leads to a login, which leaves an ID token.
type party struct {
	url, suiteURL string
	with          *provider

	mu      sync.Mutex // guards what follows
	idToken string
	asked   []*http.Request // what came to the suite's provider, with its form
}

// left is the ID token of the last login.
func (a *party) left() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.idToken
}

func (a *party) handedOn() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func startParty(t *testing.T) *party {
	t.Helper()
	a := &party{}
	suite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		a.mu.Lock()
		a.asked = append(a.asked, r)
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/odd+json")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, suiteAnswer)
	}))
	t.Cleanup(suite.Close)
	a.suiteURL = suite.URL
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == partyCallback:
			token := a.redeem(t, r.URL.Query().Get("code"))
			a.mu.Lock()
			a.idToken = token
			a.mu.Unlock()
			_, _ = io.WriteString(w, saysConnected)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `<form method="post" action="`+partyLink+`"></form>`)
		default:
			_, _ = io.WriteString(w, `<a class="button primary" href="`+html.EscapeString(a.with.issuer+"/authorize?"+url.Values{
				"client_id": {"penstock"}, "redirect_uri": {a.url + partyCallback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"},
			}.Encode())+`">go</a>`)
		}
	}))
	t.Cleanup(web.Close)
	a.url = web.URL
	a.with = a.provider(t, suite.URL+"/token")
	return a
}

// provider starts a provider in front of that token endpoint, of which Penstock is a client.
func (a *party) provider(t *testing.T, endpoint string) *provider {
	t.Helper()
	p, err := startProvider(t.Context(), scenarioHints{
		ProviderClientID: "penstock", ProviderIDToken: "of the suite", ProviderTokenEndpoint: endpoint,
	}, "ada@penstock.test", a.url+partyCallback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// logIn has the person go the way of a link.
func (a *party) logIn(t *testing.T) error {
	t.Helper()
	b, err := newBrowser(gateway.Person{Issuer: a.url}, a.with)
	if err != nil {
		t.Fatal(err)
	}
	return b.connect(t.Context(), a.url+partyLink)
}

func (a *party) redeem(t *testing.T, code string) string {
	t.Helper()
	status, body, _ := a.post(t, a.with, a.with.clientSecret, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.url + partyCallback},
	})
	var got struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.IDToken == "" {
		t.Errorf("redeem: %d %s", status, body)
	}
	return got.IDToken
}

// post sends a token request with that secret of Penstock's.
func (a *party) post(t *testing.T, to *provider, secret string, form url.Values) (status int, body, contentType string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("penstock", secret)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header.Get("Content-Type")
}

// signed is an ID token that a provider's key signs.
func (a *party) signed(t *testing.T, change map[string]any) string {
	t.Helper()
	key, err := a.with.store.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := map[string]any{
		"iss": a.with.issuer, "sub": a.with.who.ID, "aud": "penstock", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for name, value := range change {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signature.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func exchangeOf(subjects ...string) url.Values {
	return url.Values{
		"grant_type": {grantExchange}, "subject_token": subjects, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"}, "audience": {"https://as.example"}, "resource": {"https://mcp.example"},
	}
}

// TestProvider: the ID token of a login is exchanged by the suite's provider, which sees its own ID token and all else as it was sent;
// its answer comes as it is.
func TestProvider(t *testing.T) {
	a := startParty(t)
	if err := a.logIn(t); err != nil {
		t.Fatal(err)
	}
	status, body, contentType := a.post(t, a.with, a.with.clientSecret, exchangeOf(a.left()))
	if status != http.StatusTeapot || body != suiteAnswer || contentType != "application/odd+json" {
		t.Errorf("answered %d %s %q", status, contentType, body)
	}
	all := a.handedOn()
	if len(all) != 1 {
		t.Fatalf("asked %d times", len(all))
	}
	asked := all[0]
	if diff := cmp.Diff(exchangeOf("of the suite"), asked.PostForm); diff != "" {
		t.Error(diff)
	}
	if id, secret, _ := asked.BasicAuth(); id != "penstock" || secret != a.with.clientSecret || asked.URL.Path != "/token" || "http://"+asked.Host != a.suiteURL {
		t.Errorf("asked as %s at %s%s", id, asked.Host, asked.URL)
	}
}

// TestProviderRefuses: what is not the ID token of the person's login, for Penstock, is not handed on.
func TestProviderRefuses(t *testing.T) {
	a := startParty(t)
	other := startParty(t)
	const (
		client  = `{"error":"invalid_client","error_description":"invalid client_id / client_secret"}`
		basic   = `{"error":"invalid_client","error_description":"invalid basic auth header"}`
		one     = `{"error":"invalid_request","error_description":"there must be one subject_token"}`
		foreign = `{"error":"invalid_request","error_description":"the subject_token is no ID token of a login here"}`
	)
	good := a.signed(t, nil)
	for _, tt := range []struct {
		name, secret string
		form         url.Values
		status       int
		want         string
	}{
		{"another secret", "wrong", exchangeOf(good), 401, client},
		{"a secret that is badly written", "%zz", exchangeOf(good), 401, basic},
		{"no subject", a.with.clientSecret, exchangeOf(), 400, one},
		{"two subjects", a.with.clientSecret, exchangeOf(good, good), 400, one},
		{"no token", a.with.clientSecret, exchangeOf("x"), 400, foreign},
		{"the suite's own token", a.with.clientSecret, exchangeOf("of the suite"), 400, foreign},
		{"another provider's", a.with.clientSecret, exchangeOf(other.signed(t, nil)), 400, foreign},
		{"another key", a.with.clientSecret, exchangeOf(other.signed(t, map[string]any{"iss": a.with.issuer, "sub": a.with.who.ID})), 400, foreign},
		{"another person's", a.with.clientSecret, exchangeOf(a.signed(t, map[string]any{"sub": "bob"})), 400, foreign},
		{"another client's", a.with.clientSecret, exchangeOf(a.signed(t, map[string]any{"aud": []string{"penstock", "x"}})), 400, foreign},
		{"over", a.with.clientSecret, exchangeOf(a.signed(t, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})), 400, foreign},
		{"the very token", a.with.clientSecret, exchangeOf(good), http.StatusTeapot, strings.TrimSpace(suiteAnswer)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(a.handedOn())
			status, body, _ := a.post(t, a.with, tt.secret, tt.form)
			if status != tt.status || strings.TrimSpace(body) != tt.want {
				t.Errorf("answered %d %s", status, body)
			}
			if handed := len(a.handedOn()) - before; (handed == 1) != (tt.status == http.StatusTeapot) {
				t.Errorf("handed on %d times", handed)
			}
		})
	}
}

// TestProviderPassword: nobody logs in with another password; the browser says on which page it ended.
func TestProviderPassword(t *testing.T) {
	a := startParty(t)
	mistaken := *a.with
	mistaken.who.Password = "wrong"
	a.with = &mistaken
	refused := new(refusedError)
	if err := a.logIn(t); !errors.As(err, &refused) || !strings.Contains(refused.page, "username or password wrong") {
		t.Errorf("got %v", err)
	}
}

// TestProviderAlone: the suite's provider is down.
func TestProviderAlone(t *testing.T) {
	a := startParty(t)
	down := httptest.NewServer(nil)
	down.Close()
	a.with = a.provider(t, down.URL)
	if status, body, _ := a.post(t, a.with, a.with.clientSecret, exchangeOf(a.signed(t, nil))); status != http.StatusBadGateway || !strings.Contains(body, "refused") {
		t.Errorf("answered %d %s", status, body)
	}
}

func TestProviderHints(t *testing.T) {
	for _, hints := range []scenarioHints{
		{ProviderIDToken: "x", ProviderTokenEndpoint: "http://localhost"},
		{ProviderClientID: "x", ProviderTokenEndpoint: "http://localhost"},
		{ProviderClientID: "x", ProviderIDToken: "x", ProviderTokenEndpoint: "http://%"},
	} {
		if _, err := startProvider(t.Context(), hints, "", ""); !strings.Contains(fmt.Sprint(err), "says too little of its identity provider") {
			t.Errorf("%+v: %v", hints, err)
		}
	}
}
