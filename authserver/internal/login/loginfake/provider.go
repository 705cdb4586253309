// SPDX-License-Identifier: Apache-2.0

package loginfake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Client is the registration of the relying party.
type Client struct {
	ID, Secret  string // an empty secret is a public client
	Method      string // client_secret_basic or client_secret_post
	RedirectURI string
}

// Behavior is how the provider answers. The zero value is a good provider.
type Behavior struct {
	NamesIssuer bool                                              // metadata and responses have iss (RFC 9207)
	Metadata    func(m map[string]any)                            // changes the discovery document
	Discovery   http.HandlerFunc                                  // answers in place of the discovery document
	Response    func(v url.Values)                                // changes the authorization response
	Claims      func(c map[string]any)                            // changes the claims of the ID token
	Sign        func(claims []byte, key *ecdsa.PrivateKey) string // makes the ID token
	Tokens      func(m map[string]any)                            // changes the token response
	Token       http.HandlerFunc                                  // answers in place of the token endpoint
	UserInfo    map[string]any                                    // claims of UserInfo; nil: there is no such endpoint

	Refresh   func(form url.Values) (status int, body map[string]any) // answers refresh requests with something else, if body is not nil
	Access    func(form url.Values, c map[string]any)                 // changes the claims of access tokens for a resource
	Revoke    http.HandlerFunc                                        // answers in place of the revocation endpoint
	NoRefresh bool                                                    // logins get no refresh token, whatever they ask for
	Steady    bool                                                    // refresh tokens are not replaced
	Slow      chan struct{}                                           // a refresh waits until it is closed
}

// Provider is a running provider. Its exported fields may be changed between requests, under Lock.
type Provider struct {
	sync.Mutex
	Client   Client
	Behavior Behavior
	Now      func() time.Time
	Subject  string

	// Issuer is its URL.
	Issuer string
	// Seen is the parameters of the last authorization request.
	Seen url.Values
	// Discoveries counts how often the discovery document was asked for.
	Discoveries int
	// Requests counts all that came.
	Requests int
	// Down answers everything with 503.
	Down bool
	// Refreshes counts the tokens that refresh tokens gave, Revoked the refresh tokens that were revoked.
	Refreshes, Revoked int
	// RefreshForm is the last refresh request.
	RefreshForm url.Values
	// Secrets are all tokens that were given.
	Secrets []string
	// Mistakes are what the relying party did wrong.
	Mistakes []string

	key    *ecdsa.PrivateKey
	codes  map[string]url.Values // of the authorization request
	tokens map[string]bool       // access tokens

	refresh map[string]string // live refresh tokens → nonce of the login
	spent   map[string]bool   // refresh tokens that were replaced
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{Now: time.Now, key: key, codes: make(map[string]url.Values), tokens: make(map[string]bool), Subject: "sub-1"}
	p.refresh, p.spent = make(map[string]string), make(map[string]bool)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userInfo)
	mux.HandleFunc("POST /revoke", p.revoke)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.wait(r)
		p.Lock()
		defer p.Unlock()
		p.Requests++
		if p.Down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.Issuer = server.URL
	return p
}

// Set changes how the provider answers.
func (p *Provider) Set(b Behavior) {
	p.Lock()
	defer p.Unlock()
	p.Behavior = b
}

func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	p.Discoveries++
	if p.Behavior.Discovery != nil {
		p.Behavior.Discovery(w, r)
		return
	}
	m := map[string]any{
		"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token",
		"jwks_uri": p.Issuer + "/jwks", "revocation_endpoint": p.Issuer + "/revoke", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
	}
	if p.Behavior.NamesIssuer {
		m["authorization_response_iss_parameter_supported"] = true
	}
	if p.Client.Method != "" {
		m["token_endpoint_auth_methods_supported"] = []string{p.Client.Method}
	}
	if p.Behavior.UserInfo != nil {
		m["userinfo_endpoint"] = p.Issuer + "/userinfo"
	}
	if p.Behavior.Metadata != nil {
		p.Behavior.Metadata(m)
	}
	answer(w, http.StatusOK, m)
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
}

// authorize logs in whoever comes.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.Seen = q
	for name, ok := range map[string]bool{
		"client_id":             q.Get("client_id") == p.Client.ID,
		"redirect_uri":          q.Get("redirect_uri") == p.Client.RedirectURI,
		"response_type":         q.Get("response_type") == "code",
		"scope":                 slices.Contains(splitScope(q.Get("scope")), "openid"),
		"state":                 len(q.Get("state")) >= 22,
		"nonce":                 len(q.Get("nonce")) >= 22 && q.Get("nonce") != q.Get("state"),
		"code_challenge":        len(q.Get("code_challenge")) == 43,
		"code_challenge_method": q.Get("code_challenge_method") == "S256",
	} {
		if !ok || len(q[name]) != 1 {
			p.mistake(w, "authorization request: "+name)
			return
		}
	}
	code := random()
	p.codes[code] = q
	response := url.Values{"code": {code}, "state": {q.Get("state")}}
	if p.Behavior.NamesIssuer {
		response.Set("iss", p.Issuer)
	}
	if p.Behavior.Response != nil {
		p.Behavior.Response(response)
	}
	w.Header().Set("Location", p.Client.RedirectURI+"?"+response.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if p.Behavior.Token != nil {
		p.Behavior.Token(w, r)
		return
	}
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		p.mistake(w, "token request: form")
		return
	}
	f := r.PostForm
	if !p.authenticated(r) {
		p.mistake(w, "token request: client authentication")
		return
	}
	if f.Get("grant_type") == "refresh_token" {
		p.renew(w, f)
		return
	}
	asked, known := p.codes[f.Get("code")]
	delete(p.codes, f.Get("code"))
	switch {
	case f.Get("grant_type") != "authorization_code":
		p.mistake(w, "token request: grant_type")
	case !known:
		p.mistake(w, "token request: code")
	case f.Get("redirect_uri") != asked.Get("redirect_uri"):
		p.mistake(w, "token request: redirect_uri")
	case len(f.Get("code_verifier")) < 43 || challenge(f.Get("code_verifier")) != asked.Get("code_challenge"):
		p.mistake(w, "token request: code_verifier")
	default:
		offline := slices.Contains(splitScope(asked.Get("scope")), "offline_access") && !p.Behavior.NoRefresh
		p.issue(w, asked.Get("nonce"), offline)
	}
}

func (p *Provider) issue(w http.ResponseWriter, nonce string, offline bool) {
	access := random()
	p.tokens[access] = true
	now := p.Now()
	claims := map[string]any{
		"iss": p.Issuer, "sub": p.Subject, "aud": p.Client.ID, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "nonce": nonce,
		"email": "alice@example.com", "email_verified": true, "name": "Alice Example", "at_hash": accessHash(access),
	}
	if p.Behavior.Claims != nil {
		p.Behavior.Claims(claims)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.mistake(w, err.Error())
		return
	}
	sign := p.Behavior.Sign
	if sign == nil {
		sign = ES256
	}
	out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": sign(body, p.key)}
	if offline {
		out["refresh_token"] = p.newRefresh(nonce)
	}
	p.remember(out)
	if p.Behavior.Tokens != nil {
		p.Behavior.Tokens(out)
	}
	answer(w, http.StatusOK, out)
}

// authenticated checks the client by its one method.
func (p *Provider) authenticated(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	form := r.PostForm
	switch {
	case p.Client.Secret == "":
		return !basic && form.Get("client_id") == p.Client.ID && !form.Has("client_secret")
	case p.Client.Method == "client_secret_post":
		return !basic && form.Get("client_id") == p.Client.ID && form.Get("client_secret") == p.Client.Secret
	default:
		return basic && id == url.QueryEscape(p.Client.ID) && secret == url.QueryEscape(p.Client.Secret) && !form.Has("client_secret")
	}
}

func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) {
	access, ok := cutBearer(r.Header.Get("Authorization"))
	if !ok || !p.tokens[access] {
		p.mistake(w, "userinfo request: access token")
		return
	}
	c := map[string]any{"sub": p.Subject}
	maps.Copy(c, p.Behavior.UserInfo)
	answer(w, http.StatusOK, c)
}

func (p *Provider) mistake(w http.ResponseWriter, what string) {
	p.Mistakes = append(p.Mistakes, what)
	answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": what})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the test sees that the answer is not whole
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
