// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/account"
	"github.com/penstockhq/penstock/authserver/internal/authorize"
	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/clients/register"
	"github.com/penstockhq/penstock/authserver/internal/connect"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/discovery"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/idjag"
	"github.com/penstockhq/penstock/authserver/internal/introspect"
	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/revoke"
	"github.com/penstockhq/penstock/authserver/internal/router"
	"github.com/penstockhq/penstock/authserver/internal/scim"
	"github.com/penstockhq/penstock/authserver/internal/signals"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

const (
	// codeLife is the life of an authorization code (AZ-19).
	codeLife = time.Minute
	// skew is what clocks of nodes may differ (RS-10).
	skew = time.Minute
	// clientLife and unusedLife are the lives of clients that registered themselves (REG-9).
	clientLife = 90 * 24 * time.Hour
	unusedLife = 7 * 24 * time.Hour
	// maxUnused bounds the clients that registered themselves and were never used.
	maxUnused = 10_000
	// maxPosted bounds what is read of a request to endpoints that say themselves, at half of it, what is too long (REG-2).
	maxPosted = 128 << 10
	// maxCredential bounds the form of a credential: 20 headers of 16 KiB, escaped.
	maxCredential = 1 << 20
	// maxProvisioned bounds what is read of a SCIM request, which says itself, at half of it, what is too long.
	maxProvisioned = 8 << 20
	// fetchTimeout bounds one request to an identity provider.
	fetchTimeout = 10 * time.Second
)

// authorization is the rooms of the authorization server.
type authorization struct {
	issuer    string
	keys      *keys.Keys
	discovery *discovery.Discovery
	limiter   *limit.Limiter
	clients   *clients.Clients
	register  *register.Handler
	grants    *grants.Grants
	tokens    *tokens.Endpoint
	revoke    *revoke.Endpoint
	denied    *introspect.Endpoint // on the public listener: nobody may (TK-22)
	login     *login.Login
	authorize *authorize.Handler
	consent   *consent.Handler
	account   *account.Handler
	connect   *connect.Handler
	upstream  *upstream.Upstream
	subjects  *subject.Keeper
	exchanger *exchange.Exchanger
	scim      *scim.Handler
	signals   *signals.Receiver
}

// Documents implements credentialapi.Issuer.
func (a *authorization) Documents() (issuer string, metadata, jwks []byte) {
	return a.issuer, a.discovery.Document(), a.keys.JWKS()
}

// SetPassword implements credentialapi.Passwords.
func (a *authorization) SetPassword(ctx context.Context, uid, password string) error {
	return a.login.SetPassword(ctx, uid, password)
}

// Describe implements login.Destinations: login, authorize and connect know each other through it.
func (a *authorization) Describe(ctx context.Context, request string) (pages.Destination, error) {
	if connect.IsLink(request) {
		return a.connect.Describe(ctx, request)
	}
	return a.authorize.Describe(ctx, request)
}

// Signed implements idjag.Providers: tokens are made before login is.
func (a *authorization) Signed(ctx context.Context, idp *directory.Provider, compact string) ([]byte, error) {
	return a.login.Signed(ctx, idp, compact)
}

// Asserted implements idjag.Providers.
func (a *authorization) Asserted(ctx context.Context, view *directory.View, idp *directory.Provider, claims []byte) (string, error) {
	return a.login.Asserted(ctx, view, idp, claims)
}

// Onward implements login.Destinations.
func (a *authorization) Onward(request string) string {
	if connect.IsLink(request) {
		return connect.Onward(request)
	}
	return consent.Path + "?" + url.Values{"request": {request}}.Encode()
}

// Create implements credentialapi.Links.
func (a *authorization) Create(ctx context.Context, r credentialapi.LinkRequest) (link string, expires time.Time, err error) {
	return a.connect.Create(ctx, connect.Request(r))
}

// openAuthorization makes the rooms. It starts nothing.
func (s *Server) openAuthorization(db store.Store, v *vault.Vault, l *link) (a *authorization, err error) {
	a = &authorization{issuer: s.c.Issuer}
	if a.limiter, err = limit.New(limit.Config{Shared: s.shared}); err != nil {
		return nil, err
	}
	a.keys, err = keys.New(keys.Config{Store: db, Vault: v, Retain: s.c.OAuth.AccessTokenLife + skew, Log: s.c.Telemetry.Log})
	if err != nil {
		return nil, err
	}
	a.discovery, err = discovery.New(discovery.Config{
		Issuer: s.c.Issuer, Registration: s.c.OAuth.DCR != string(register.Off), MetadataDocuments: s.c.OAuth.CIMD != string(cimd.Off),
		ClientSecrets: true, ClientCredentials: true, Documentation: s.c.OAuth.ServiceDocumentation,
		Assertions: func() bool {
			view := l.follower.View()
			return view != nil && view.Assertions()
		},
	})
	if err != nil {
		return nil, err
	}
	view := l.follower.View
	return a, errors.Join(s.openClients(a, db, view), s.openTokens(a, db, view), s.openPeople(a, db, v, l), s.openProvisioning(a, db, v, l))
}

// openClients makes what finds, registers and authenticates clients.
func (s *Server) openClients(a *authorization, db store.OAuth, view func() *directory.View) error {
	rules, err := redirect.NewRules(s.c.OAuth.PrivateRedirects)
	if err != nil {
		return err
	}
	policy, _ := s.c.Egress.policy() // Validate has read it
	scopes := func() []string {
		if v := view(); v != nil {
			return v.Scopes()
		}
		return nil
	}
	a.clients, err = clients.New(clients.Config{
		View: view, Store: db, Limiter: a.limiter, Issuer: s.c.Issuer, TokenEndpoint: s.c.Issuer + discovery.TokenPath,
		TokenEndpointAudience: s.c.OAuth.EndpointAudience,
		Trust:                 cimd.Trust{Mode: cimd.Mode(s.c.OAuth.CIMD), Allowed: s.c.OAuth.CIMDAllow, SameOrigin: s.c.OAuth.CIMDSameOrigin},
		Redirects:             rules, TrustedClients: s.c.OAuth.TrustedClients, Scopes: scopes, Egress: policy, TTL: clientLife,
		Now: time.Now, Logger: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	var initial [][sha256.Size]byte
	if token := s.c.OAuth.InitialAccessToken.Reveal(); token != "" {
		initial = append(initial, sha256.Sum256([]byte(token)))
	}
	a.register, err = register.New(register.Config{
		Store: db, Limiter: a.limiter, Mode: register.Mode(s.c.OAuth.DCR), InitialTokens: initial, Hosts: s.c.OAuth.RedirectHosts,
		Confidential: s.c.OAuth.ConfidentialDCR, Redirects: rules, Scopes: scopes, Egress: policy, TTL: clientLife, UnusedTTL: unusedLife,
		MaxUnused: maxUnused, Now: time.Now, Logger: s.c.Telemetry.Log,
	})
	return err
}

// openTokens makes what issues, renews and revokes tokens.
func (s *Server) openTokens(a *authorization, db store.OAuth, view func() *directory.View) (err error) {
	a.grants, err = grants.New(grants.Config{
		Store: db, Access: tokens.Access{View: view}, Keys: a.keys, Issuer: s.c.Issuer, AccessTTL: s.c.OAuth.AccessTokenLife, Skew: skew,
		RefreshIdle: s.c.OAuth.RefreshIdle, Grace: s.c.OAuth.RefreshGrace, RefreshOnScope: s.c.OAuth.RefreshTokens == "on_scope",
	})
	if err != nil {
		return err
	}
	rules, err := idjag.New(idjag.Config{Issuer: s.c.Issuer, View: view, Providers: a, Limiter: a.limiter, Used: a.grants.Asserted})
	if err != nil {
		return err
	}
	a.tokens, err = tokens.New(tokens.Config{
		Issuer: s.c.Issuer, Grants: a.grants, Clients: a.clients, Keys: a.keys, View: view, Store: db,
		AccessTTL: s.c.OAuth.AccessTokenLife, ClientCredentials: true, Assertions: rules, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	if a.revoke, err = revoke.New(revoke.Config{Grants: a.grants, Clients: a.clients, Log: s.c.Telemetry.Log}); err != nil {
		return err
	}
	a.denied, err = introspect.New(introspect.Config{Grants: a.grants, Log: s.c.Telemetry.Log})
	return err
}

// openPeople makes what talks to browsers.
func (s *Server) openPeople(a *authorization, db store.OAuth, v *vault.Vault, l *link) (err error) {
	view := l.follower.View
	policy, _ := s.c.Egress.policy() // Validate has read it
	a.subjects, err = subject.New(subject.Config{View: view, Vault: v, Audit: db, Providers: a, Log: s.c.Telemetry.Log})
	if err != nil {
		return err
	}
	a.exchanger, err = exchange.New(exchange.Config{
		View: view, Subjects: kept{a.subjects}, Vault: v, Audit: db, Egress: policy, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	a.login, err = login.New(login.Config{
		Issuer: s.c.Issuer, Store: db, View: view, Directory: l, Secrets: v, Destinations: a, HTTP: guarded(policy),
		Subjects: a.subjects, Returned: a.returned,
		Await: l.await, LocalUsers: s.c.Login.LocalUsers, Log: s.c.Telemetry.Log,
		Delay: limit.NewSharedDelay(s.shared, nil), LogOut: a.grants.LogOut, LogOutSession: a.grants.LogOutSession,
	})
	if err != nil {
		return err
	}
	a.authorize, err = authorize.New(authorize.Config{
		Issuer: s.c.Issuer, Store: db, View: view, Clients: a.clients, Logins: a.login, DefaultResource: s.c.OAuth.DefaultResource,
		Now: time.Now, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	a.consent, err = consent.New(consent.Config{
		Issuer: s.c.Issuer, Store: db, View: view, Clients: a.clients, Logins: a.login, CodeTTL: codeLife,
		GrantTTL: s.c.OAuth.RefreshAbsolute, Now: time.Now, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	a.account, err = account.New(account.Config{
		Issuer: s.c.Issuer, Store: db, View: view, Logins: a.login, Revoker: a.grants, Now: time.Now, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	a.upstream, err = upstream.New(upstream.Config{
		Issuer: s.c.Issuer, View: view, Vault: v, Audit: db, Egress: policy, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	a.connect, err = connect.New(connect.Config{
		Issuer: s.c.Issuer, Store: db, View: view, Logins: a.login, Installer: l, Vault: v, Upstream: a.upstream, Subjects: a.subjects, Log: s.c.Telemetry.Log,
	})
	return err
}

// openProvisioning makes what takes users, groups and security events from identity providers.
func (s *Server) openProvisioning(a *authorization, db store.OAuth, v *vault.Vault, l *link) (err error) {
	a.scim, err = scim.New(scim.Config{
		Issuer: s.c.Issuer, View: l.follower.View, Directory: l, Await: l.await, RevokeUser: a.endUser, Store: db, Limiter: a.limiter, Log: s.c.Telemetry.Log,
	})
	if err != nil {
		return err
	}
	policy, _ := s.c.Egress.policy() // Validate has read it
	a.signals, err = signals.New(signals.Config{
		Issuer: s.c.Issuer, View: l.follower.View, Directory: l, Await: l.await, Sessions: sessions{a.grants, a}, Secrets: v, Store: db, Limiter: a.limiter,
		Egress: policy, Log: s.c.Telemetry.Log, Meter: s.c.Telemetry.Meter,
	})
	return err
}

// guarded returns the client for servers that somebody else named: it resolves once and refuses addresses inside (CIMD-5).
func guarded(p egress.Policy) *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: p.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: idleTimeout},
		Timeout:   fetchTimeout,
	}
}

// routes is the table of the public listener.
func (a *authorization) routes() []router.Route {
	f := func(h http.HandlerFunc) http.Handler { return h }
	return []router.Route{
		{Methods: "GET", Path: discovery.ServerPath, Handler: a.discovery, CORS: true, WellKnown: true},
		{Methods: "GET", Path: discovery.OpenIDPath, Handler: a.discovery, CORS: true, WellKnown: true},
		{Methods: "GET", Path: discovery.JWKSPath, Handler: a.keys, CORS: true},
		// No bucket: the handler takes from it, and a second time would halve what REG-9 gives. It refuses long bodies itself, too.
		{Methods: "POST", Path: discovery.RegisterPath, Handler: a.register, CORS: true, MaxBody: maxPosted},
		{
			Methods: "POST", Path: discovery.TokenPath, Handler: a.tokens, CORS: true, MaxBody: maxPosted, Bucket: limit.Token,
			ClientBucket: limit.TokenClient, Client: router.FormClient,
		},
		{
			Methods: "POST", Path: discovery.RevokePath, Handler: a.revoke, CORS: true, MaxBody: maxPosted, Bucket: limit.Token,
			ClientBucket: limit.TokenClient, Client: router.FormClient,
		},
		{Methods: "POST", Path: discovery.IntrospectPath, Handler: a.denied, Bucket: limit.Token},
		{
			Methods: "GET, POST", Path: discovery.AuthorizePath, Handler: a.authorize, Page: true, Bucket: limit.Authorize,
			ClientBucket: limit.AuthorizeClient, Client: router.QueryClient,
		},
		{Methods: "GET, POST", Path: consent.Path, Handler: a.consent, Page: true, Bucket: limit.Authorize},
		{Methods: "GET", Path: login.PagePath, Handler: f(a.login.Page), Page: true, Bucket: limit.Login},
		{Methods: "POST", Path: login.PasswordPath, Handler: f(a.login.Password), Page: true, Bucket: limit.Login},
		{Methods: "POST", Path: login.ProviderPath, Handler: f(a.login.Provider), Page: true, Bucket: limit.Login},
		{Methods: "GET", Path: login.CallbackPath, Handler: f(a.login.Callback), Page: true, Bucket: limit.Login},
		{Methods: "POST", Path: login.BackchannelPath, Handler: f(a.login.Backchannel), Bucket: limit.Token},
		{Methods: "POST", Path: login.LogoutPath, Handler: f(a.login.Logout), Page: true},
		{Methods: "GET", Path: account.Path, Handler: f(a.account.Page), Page: true},
		{Methods: "POST", Path: account.RevokePath, Handler: f(a.account.Revoke), Page: true},
		{Methods: "GET, POST", Path: connect.Path, Handler: a.connect, Page: true, Bucket: limit.Connect, MaxBody: maxCredential},
		{Methods: "GET", Path: upstream.CallbackPath, Handler: f(a.connect.Callback), Page: true, Bucket: limit.Connect},
		{Methods: "GET", Path: upstream.DocumentPath, Handler: a.upstream, CORS: true},
		{Methods: "GET", Path: "/{$}", Handler: f(a.account.Home), Page: true},
		{Methods: "POST", Path: signals.Path, Handler: a.signals, MaxBody: maxPosted}, // no bucket, as SCIM
		// No bucket: the handler takes from it and refuses in SCIM's own form, and long bodies likewise.
		{Methods: "GET, POST, PUT, PATCH, DELETE", Path: scim.Prefix, Handler: a.scim, MaxBody: maxProvisioned},
		{Methods: "GET", Path: "/assets/", Handler: pages.Assets(), Page: true},
	}
}
