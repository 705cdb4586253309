// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// keeping makes an identity provider keep the tokens of its logins.
func keeping(p *catalog.IdentityProvider) { p.TokenExchange = &resource.KeptTokens{} }

// account is a server that is called as a service account.
func account(name string, change ...func(*resource.OAuthClientCredentials)) *catalog.Server {
	s, c := server(name), &resource.OAuthClientCredentials{ClientID: "penstock", ClientSecret: canary}
	for _, f := range change {
		f(c)
	}
	s.Credential = &resource.ServerCredential{OAuthClientCredentials: c}
	return s
}

// exchanges is a server that is called with what the caller's token of okta is exchanged for.
func exchanges(name string, change ...func(*resource.TokenExchange)) *catalog.Server {
	s, c := server(name), &resource.TokenExchange{IdentityProvider: "okta"}
	for _, f := range change {
		f(c)
	}
	s.Credential = &resource.ServerCredential{TokenExchange: c}
	return s
}

// given is a server that is called with what okta gives the caller.
func given(name string, change ...func(*resource.CallerIDPToken)) *catalog.Server {
	s, c := server(name), &resource.CallerIDPToken{IdentityProvider: "okta", Audience: "api://" + name}
	for _, f := range change {
		f(c)
	}
	s.Credential = &resource.ServerCredential{CallerIDPToken: c}
	return s
}

// privateKey is a key in the form that a client_secret has.
func privateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func tooLong(n int) string { return strings.Repeat("x", n+1) }

// TestMadeCredentials has a row for each rule of the kinds of credential that Penstock makes.
func TestMadeCredentials(t *testing.T) {
	type (
		cc = resource.OAuthClientCredentials
		tx = resource.TokenExchange
		ct = resource.CallerIDPToken
	)
	const (
		bad = "invalid INVALID_FIELD"
		cca = "credential.oauth_client_credentials."
		txa = "credential.token_exchange."
		cta = "credential.caller_idp_token."
	)
	acc := func(f func(o *cc)) *catalog.Server { return account("new", f) }
	exc := func(f func(o *tx)) *catalog.Server { return exchanges("new", f) }
	giv := func(f func(o *ct)) *catalog.Server { return given("new", f) }
	stdio := func(s *catalog.Server) *catalog.Server {
		s.StreamableHTTP, s.Stdio = nil, &resource.Stdio{Command: "x"}
		return s
	}
	sse := exchanges("new")
	sse.StreamableHTTP, sse.SSE = nil, &resource.SSE{URL: "https://new.example.com/sse"}
	both := account("new")
	both.Credential.CallerIDPToken = given("new").Credential.CallerIDPToken
	key := privateKey(t)
	assertion := func(o *tx) { o.Grant, o.Issuer = resource.ExchangeGrantIdentityAssertion, "https://as.example" }
	behalf := func(o *tx) {
		o.Grant, o.Scopes = resource.ExchangeGrantEntraOnBehalfOf, []string{"api://tools/.default"}
	}
	for _, tc := range []struct {
		name, want, field string
		server            *catalog.Server
	}{
		{"two kinds", bad, "credential", both},
		{"account of a process", bad, "credential.oauth_client_credentials", stdio(account("new"))},
		{"exchange for a process", bad, "credential.token_exchange", stdio(exchanges("new"))},
		{"caller's token for a process", bad, "credential.caller_idp_token", stdio(given("new"))},
		{"HTTP+SSE", "", "", sse},

		{"account", "", "", account("new")},
		{"account, all set", "", "", acc(func(o *cc) {
			o.Issuer, o.TokenEndpoint, o.Scopes, o.NoResource = "https://as.example/t", "https://as.example/token", []string{"a", "b"}, true
			o.Authentication = resource.ClientAuthenticationSecret
		})},
		{"account on this machine", "", "", acc(func(o *cc) { o.Issuer = "http://127.0.0.1:8081" })},
		{"account with a key", "", "", acc(func(o *cc) { o.Authentication, o.ClientSecret = resource.ClientAuthenticationPrivateKeyJWT, key })},
		{"account, unspecified authentication", "", "", acc(func(o *cc) { o.Authentication = "CLIENT_AUTHENTICATION_UNSPECIFIED" })},
		{"account, plain issuer", bad, cca + "issuer", acc(func(o *cc) { o.Issuer = "http://as.example" })},
		{"account, issuer with a query", bad, cca + "issuer", acc(func(o *cc) { o.Issuer = "https://as.example?x" })},
		{"account, plain endpoint", bad, cca + "token_endpoint", acc(func(o *cc) { o.TokenEndpoint = "http://as.example/token" })},
		{"account without a client", bad, cca + "client_id", acc(func(o *cc) { o.ClientID = "" })},
		{"account, long client", bad, cca + "client_id", acc(func(o *cc) { o.ClientID = tooLong(512) })},
		{"account without a secret", bad, cca + "client_secret", acc(func(o *cc) { o.ClientSecret = "" })},
		{"account, forged reference", bad, cca + "client_secret", acc(func(o *cc) { o.ClientSecret, o.SecretVersion = "", "v1" })},
		{"account, long secret", bad, cca + "client_secret", acc(func(o *cc) { o.ClientSecret = canary + tooLong(4096) })},
		{"account, secret with a line break", bad, cca + "client_secret", acc(func(o *cc) { o.ClientSecret = canary + "\n" })},
		{"account, key as a secret", bad, cca + "client_secret", acc(func(o *cc) { o.ClientSecret = key })},
		{"account, secret as a key", bad, cca + "client_secret", acc(func(o *cc) { o.Authentication = resource.ClientAuthenticationPrivateKeyJWT })},
		{"account, unknown authentication", bad, cca + "authentication", acc(func(o *cc) { o.Authentication = "NONE" })},
		{"account, scope twice", bad, cca + "scopes[1]", acc(func(o *cc) { o.Scopes = []string{"a", "a"} })},
		{"account, scope with a space", bad, cca + "scopes[0]", acc(func(o *cc) { o.Scopes = []string{"a b"} })},
		{"account, long scope", bad, cca + "scopes[0]", acc(func(o *cc) { o.Scopes = []string{tooLong(128)} })},
		{"account, 33 scopes", bad, cca + "scopes", acc(func(o *cc) { o.Scopes = numbered(33) })},

		{"exchange", "", "", exchanges("new")},
		{"exchange, all set", "", "", exc(func(o *tx) {
			o.Grant, o.SubjectToken, o.Audience = resource.ExchangeGrantTokenExchange, resource.SubjectTokenRefresh, "tools"
			o.Scopes, o.NoResource, o.TokenEndpoint = []string{strings.Repeat("x", 256)}, true, "https://sts.example/token"
			o.ClientID, o.ClientSecret, o.Authentication = "penstock", canary, resource.ClientAuthenticationSecret
		})},
		{"exchange, unspecified enums", "", "", exc(func(o *tx) {
			o.Grant, o.SubjectToken, o.Authentication = "EXCHANGE_GRANT_UNSPECIFIED", "SUBJECT_TOKEN_UNSPECIFIED", "CLIENT_AUTHENTICATION_UNSPECIFIED"
		})},
		{"exchange, public client", "", "", exc(func(o *tx) { o.ClientID = "penstock" })},
		{"exchange, client with a key", "", "", exc(func(o *tx) {
			o.ClientID, o.ClientSecret, o.Authentication = "penstock", key, resource.ClientAuthenticationPrivateKeyJWT
		})},
		{"exchange without a provider", bad, txa + "identity_provider", exc(func(o *tx) { o.IdentityProvider = "" })},
		{"exchange, unknown provider", "invalid UNKNOWN_REFERENCE", txa + "identity_provider", exc(func(o *tx) { o.IdentityProvider = "nobody" })},
		{"exchange, provider that keeps nothing", "invalid PROVIDER_WITHOUT_TOKEN_EXCHANGE", txa + "identity_provider", exc(func(o *tx) { o.IdentityProvider = "plain" })},
		{"exchange, unknown grant", bad, txa + "grant", exc(func(o *tx) { o.Grant = "IMPLICIT" })},
		{"exchange, unknown subject", bad, txa + "subject_token", exc(func(o *tx) { o.SubjectToken = "SAML" })},
		{"exchange, long audience", bad, txa + "audience", exc(func(o *tx) { o.Audience = tooLong(512) })},
		{"exchange, scope twice", bad, txa + "scopes[1]", exc(func(o *tx) { o.Scopes = []string{"a", "a"} })},
		{"exchange, long scope", bad, txa + "scopes[0]", exc(func(o *tx) { o.Scopes = []string{tooLong(256)} })},
		{"exchange, 33 scopes", bad, txa + "scopes", exc(func(o *tx) { o.Scopes = numbered(33) })},
		{"exchange with an issuer", bad, txa + "issuer", exc(func(o *tx) { o.Issuer = "https://as.example" })},
		{"exchange, plain endpoint", bad, txa + "token_endpoint", exc(func(o *tx) { o.TokenEndpoint = "http://sts.example/token" })},
		{"exchange, long client", bad, txa + "client_id", exc(func(o *tx) { o.ClientID = tooLong(512) })},
		{"exchange, secret of nobody", bad, txa + "client_secret", exc(func(o *tx) { o.ClientSecret = canary })},
		{"exchange, authentication of nobody", bad, txa + "authentication", exc(func(o *tx) { o.Authentication = resource.ClientAuthenticationSecret })},
		{"exchange, confidential client without a secret", bad, txa + "client_secret", exc(func(o *tx) { o.ClientID, o.Authentication = "penstock", resource.ClientAuthenticationSecret })},
		{"exchange, secret as a key", bad, txa + "client_secret", exc(func(o *tx) {
			o.ClientID, o.ClientSecret, o.Authentication = "penstock", canary, resource.ClientAuthenticationPrivateKeyJWT
		})},

		{"on behalf of", "", "", exc(behalf)},
		{"on behalf of, with the access token", "", "", exc(func(o *tx) { behalf(o); o.SubjectToken, o.NoResource = resource.SubjectTokenAccess, true })},
		{"on behalf of without a scope", bad, txa + "scopes", exc(func(o *tx) { behalf(o); o.Scopes = nil })},
		{"on behalf of, with an ID token", bad, txa + "subject_token", exc(func(o *tx) { behalf(o); o.SubjectToken = resource.SubjectTokenID })},
		{"on behalf of, with an audience", bad, txa + "audience", exc(func(o *tx) { behalf(o); o.Audience = "api://tools" })},
		{"on behalf of, with an issuer", bad, txa + "issuer", exc(func(o *tx) { behalf(o); o.Issuer = "https://as.example" })},
		{"on behalf of, with a key", bad, txa + "authentication", exc(func(o *tx) {
			behalf(o)
			o.ClientID, o.ClientSecret, o.Authentication = "penstock", key, resource.ClientAuthenticationPrivateKeyJWT
		})},
		{"on behalf of, client without a secret", bad, txa + "client_secret", exc(func(o *tx) { behalf(o); o.ClientID = "penstock" })},

		{"identity assertion", "", "", exc(assertion)},
		{"identity assertion, with the refresh token", "", "", exc(func(o *tx) {
			assertion(o)
			o.SubjectToken, o.TokenEndpoint, o.ClientID = resource.SubjectTokenRefresh, "https://as.example/token", "penstock"
		})},
		{"identity assertion for nobody", bad, txa + "issuer", exc(func(o *tx) { assertion(o); o.Issuer = "" })},
		{"identity assertion, plain issuer", bad, txa + "issuer", exc(func(o *tx) { assertion(o); o.Issuer = "http://as.example" })},
		{"identity assertion, with the access token", bad, txa + "subject_token", exc(func(o *tx) { assertion(o); o.SubjectToken = resource.SubjectTokenAccess })},
		{"identity assertion, with an audience", bad, txa + "audience", exc(func(o *tx) { assertion(o); o.Audience = "tools" })},
		{"identity assertion without a resource", bad, txa + "no_resource", exc(func(o *tx) { assertion(o); o.NoResource = true })},

		{"caller's token", "", "", given("new")},
		{"caller's token, all set", "", "", giv(func(o *ct) { o.Scopes, o.NoResource = []string{"a"}, true })},
		{"caller's token without a provider", bad, cta + "identity_provider", giv(func(o *ct) { o.IdentityProvider = "" })},
		{"caller's token, unknown provider", "invalid UNKNOWN_REFERENCE", cta + "identity_provider", giv(func(o *ct) { o.IdentityProvider = "nobody" })},
		{"caller's token, provider that keeps nothing", "invalid PROVIDER_WITHOUT_TOKEN_EXCHANGE", cta + "identity_provider", giv(func(o *ct) { o.IdentityProvider = "plain" })},
		{"caller's token for anybody", bad, cta + "audience", giv(func(o *ct) { o.Audience = "" })},
		{"caller's token, long audience", bad, cta + "audience", giv(func(o *ct) { o.Audience = tooLong(512) })},
		{"caller's token, scope with a space", bad, cta + "scopes[0]", giv(func(o *ct) { o.Scopes = []string{"a b"} })},
		{"caller's token, 33 scopes", bad, cta + "scopes", giv(func(o *ct) { o.Scopes = numbered(33) })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(provider("okta", keeping), provider("plain"))
			_, err := o.Create(t.Context(), o.as("root"), tc.server, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), key)) {
				t.Error("the error has the secret")
			}
			if err != nil && o.vault.size() > 0 {
				t.Error("the secret was handed out")
			}
		})
	}
}

// TestSignalsAndKeptTokens has a row for each rule of token_exchange and shared_signals of an identity provider.
func TestSignalsAndKeptTokens(t *testing.T) {
	type ss = resource.SharedSignals
	const (
		bad = "invalid INVALID_FIELD"
		at  = "shared_signals."
	)
	with := func(s ss) *catalog.IdentityProvider {
		return provider("okta", func(p *catalog.IdentityProvider) { p.SharedSignals = &s })
	}
	keep := func(scopes ...string) *catalog.IdentityProvider {
		return provider("okta", func(p *catalog.IdentityProvider) { p.TokenExchange = &resource.KeptTokens{Scopes: scopes} })
	}
	const poll = "https://okta.example/ssf/poll"
	for _, tc := range []struct {
		name, want, field string
		provider          *catalog.IdentityProvider
	}{
		{"kept", "", "", keep()},
		{"kept with scopes", "", "", keep("api://penstock/access", "offline_access")},
		{"scope twice", bad, "token_exchange.scopes[1]", keep("a", "a")},
		{"scope with a space", bad, "token_exchange.scopes[0]", keep("a b")},
		{"33 scopes", bad, "token_exchange.scopes", keep(numbered(33)...)},
		{"pushed", "", "", with(ss{})},
		{"polled", "", "", with(ss{Issuer: "https://ssf.okta.example", Audience: "https://auth.example.com", JWKSURI: "https://ssf.okta.example/jwks", PollEndpoint: poll, PollToken: canary})},
		{"on this machine", "", "", with(ss{Issuer: "http://127.0.0.1:1", JWKSURI: "http://localhost:1/jwks", PollEndpoint: "http://[::1]:1/poll"})},
		{"plain issuer", bad, at + "issuer", with(ss{Issuer: "http://ssf.example"})},
		{"issuer with a query", bad, at + "issuer", with(ss{Issuer: "https://ssf.example?x"})},
		{"long audience", bad, at + "audience", with(ss{Audience: tooLong(512)})},
		{"plain keys", bad, at + "jwks_uri", with(ss{JWKSURI: "http://ssf.example/jwks"})},
		{"plain polling", bad, at + "poll_endpoint", with(ss{PollEndpoint: "http://ssf.example/poll"})},
		{"no URL", bad, at + "poll_endpoint", with(ss{PollEndpoint: "poll"})},
		{"token for nothing", bad, at + "poll_token", with(ss{PollToken: canary})},
		{"long token", bad, at + "poll_token", with(ss{PollEndpoint: poll, PollToken: canary + tooLong(4096)})},
		{"token with a line break", bad, at + "poll_token", with(ss{PollEndpoint: poll, PollToken: canary + "\n"})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			_, err := o.Create(t.Context(), o.as("root"), tc.provider, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error has the token")
			}
		})
	}
}
