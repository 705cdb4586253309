// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	clientID  = "penstock"
	callback  = "https://auth.example.com/login/callback/example"
	idJAGType = "urn:ietf:params:oauth:token-type:id-jag"
)

// provider is a real OpenID provider, zitadel's example, which exchanges tokens by a policy of the test and makes identity assertions
// of its own. It remembers what was asked of its token endpoint.
type provider struct {
	t        testing.TB
	issuer   string
	secret   string // of Penstock as its client
	password string // of everybody
	op       *op.Provider

	mu        sync.Mutex // guards what follows
	forms     []url.Values
	headers   []http.Header
	policy    func(op.TokenExchangeRequest) error               // nil: everything is allowed
	answer    func(w http.ResponseWriter, form url.Values) bool // answers in its place, if it says so; nil: never
	assertion func(claims, header map[string]any)               // changes identity assertions
}

// rules is the provider's storage with the policy of the test.
type rules struct {
	*storage.Storage

	p *provider
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage.
func (r rules) ValidateTokenExchangeRequest(_ context.Context, q op.TokenExchangeRequest) error {
	r.p.mu.Lock()
	policy := r.p.policy
	r.p.mu.Unlock()
	if policy != nil {
		return policy(q)
	}
	return nil
}

// newProvider starts a provider with people, whose names are their subjects.
func newProvider(t testing.TB, people ...string) *provider {
	t.Helper()
	p := &provider{t: t, secret: rand.Text(), password: rand.Text()}
	users := map[string]*storage.User{}
	for _, name := range people {
		users[name] = &storage.User{ID: name, Username: name, Password: p.password, Email: name + "@example.com", EmailVerified: true}
	}
	text, err := json.Marshal(users) //nolint:gosec // passwords of the test, which the provider is to know
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	known, err := storage.StoreFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(handler, w, r) }))
	t.Cleanup(server.Close)
	p.issuer = server.URL
	storage.RegisterClients(storage.WebClient(clientID, p.secret, callback))
	handler = exampleop.SetupServer(p.issuer, rules{storage.NewStorage(known), p}, nil, false, func(made *op.Provider) error {
		p.op = made
		return nil
	})
	return p
}

// reset forgets what was asked, and what a test changed.
func (p *provider) reset(t testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t, p.forms, p.headers, p.policy, p.answer, p.assertion = t, nil, nil, nil, nil, nil
}

func (p *provider) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/oauth/token" {
		next.ServeHTTP(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.forms, p.headers = append(p.forms, r.PostForm), append(p.headers, r.Header)
	answer := p.answer
	p.mu.Unlock()
	switch {
	case answer != nil && answer(w, r.PostForm):
	case r.PostForm.Get("requested_token_type") == idJAGType:
		op.NewIssuerInterceptor(p.op.IssuerFromRequest).HandlerFunc(p.assert)(w, r)
	default:
		next.ServeHTTP(w, r)
	}
}

// assert answers an exchange with an identity assertion. The library parses and authorizes the exchange; it issues no such token.
func (p *provider) assert(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	asked, id, secret, err := op.ParseTokenExchangeRequest(r, p.op.Decoder())
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	asked.RequestedTokenType = oidc.IDTokenType // the library knows no ID-JAG
	exchange, _, err := op.ValidateTokenExchangeRequest(ctx, asked, id, secret, p.op)
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	text, err := p.sign(ctx, exchange)
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	reply(w, http.StatusOK, map[string]any{"issued_token_type": idJAGType, "access_token": text, "token_type": "N_A", "expires_in": 300})
}

func (p *provider) sign(ctx context.Context, r op.TokenExchangeRequest) (string, error) {
	if len(r.GetAudience()) != 1 || len(r.GetResourses()) != 1 {
		return "", oidc.ErrInvalidRequest().WithDescription("an assertion is for one server and one resource")
	}
	now := time.Now()
	claims := map[string]any{
		"iss": p.issuer, "sub": r.GetSubject(), "aud": r.GetAudience()[0], "client_id": "agent", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "resource": r.GetResourses()[0], "scope": strings.Join(r.GetScopes(), " "),
	}
	header := map[string]any{"typ": "oauth-id-jag+jwt"}
	p.mu.Lock()
	if p.assertion != nil {
		p.assertion(claims, header)
	}
	p.mu.Unlock()
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	key, err := p.op.Storage().SigningKey(ctx)
	if err != nil {
		return "", err
	}
	typ, _ := header["typ"].(string)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// tokens is what a token endpoint gave.
type tokens struct {
	Access  string `json:"access_token"`
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

// signIn has somebody log in to Penstock at the provider.
func (p *provider) signIn(who string) tokens {
	p.t.Helper()
	page := p.follow(http.MethodGet, p.issuer+"/auth?"+url.Values{
		"client_id": {clientID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid email offline_access"}, "state": {"s"},
	}.Encode(), nil)
	back := p.follow(http.MethodPost, p.issuer+"/login/username", url.Values{
		"username": {who}, "password": {p.password}, "id": {page.Query().Get("authRequestID")},
	})
	code := p.follow(http.MethodGet, back.String(), nil).Query().Get("code")
	got, err := p.ask(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}})
	if err != nil || got.Access == "" || got.ID == "" || got.Refresh == "" {
		p.t.Fatalf("%s does not get in: %s, %v", who, got.Error, err)
	}
	return got
}

// follow returns where a request is sent on to.
func (p *provider) follow(method, to string, form url.Values) *url.URL {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = res.Body.Close()
	at, err := res.Location()
	if err != nil {
		p.t.Fatalf("%s leads nowhere: %d", to, res.StatusCode)
	}
	return at
}

// ask sends a token request as Penstock's login does.
func (p *provider) ask(form url.Values) (got tokens, err error) {
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return got, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(clientID, p.secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return got, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return got, errors.Join(err, json.Unmarshal(body, &got))
}

// whose returns the subject of an access token that the provider made, empty if it made no such token.
func (p *provider) whose(access string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.issuer+"/userinfo", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", access)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var info struct {
		Subject string `json:"sub"`
	}
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&info); err != nil {
			p.t.Fatal(err)
		}
	}
	return info.Subject
}

// exchanges returns the exchanges that were asked for.
func (p *provider) exchanges() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.forms), func(v url.Values) bool { return !v.Has("subject_token") })
}

// set changes how the provider is.
func (p *provider) set(change func(p *provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the test sees that the answer is not whole
}
