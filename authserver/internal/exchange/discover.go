// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// documentLife is how long metadata count.
	documentLife = time.Hour
	// maxDocuments bounds how many are kept; beyond it all go.
	maxDocuments = 10_000
)

// documents keeps metadata: an exchange is part of a call, and should cost one request.
type documents struct {
	now func() time.Time

	mu        sync.Mutex                                // guards what follows
	servers   map[string]document[*oauthclient.Server]  // by issuer
	resources map[string]document[oauthclient.Resource] // by URL of the MCP server
}

type document[T any] struct {
	value T
	until time.Time
}

func newDocuments(now func() time.Time) documents {
	return documents{
		now: now, servers: make(map[string]document[*oauthclient.Server]), resources: make(map[string]document[oauthclient.Resource]),
	}
}

// read returns a document from a map of d, or reads and keeps it.
func read[T any](d *documents, from map[string]document[T], at string, fetch func() (T, error)) (T, error) {
	d.mu.Lock()
	kept, there := from[at]
	d.mu.Unlock()
	if there && d.now().Before(kept.until) {
		return kept.value, nil
	}
	value, err := fetch()
	if err != nil {
		return value, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(from) >= maxDocuments {
		clear(from)
	}
	from[at] = document[T]{value, d.now().Add(documentLife)}
	return value, nil
}

// metadata returns the metadata of an issuer.
func (x *Exchanger) metadata(ctx context.Context, issuer string) (*oauthclient.Server, error) {
	return read(&x.found, x.found.servers, issuer, func() (*oauthclient.Server, error) { return x.ask.Server(ctx, issuer) })
}

// resource returns what a server says about itself. A server that says nothing is known by its URL.
func (x *Exchanger) resource(ctx context.Context, s *directory.Server) (oauthclient.Resource, error) {
	return read(&x.found, x.found.resources, s.URL, func() (oauthclient.Resource, error) {
		r, err := x.ask.Resource(ctx, s.Name, s.URL)
		if err != nil && fault.From(err).Reason == oauthclient.ReasonMetadata {
			return oauthclient.Resource{Resource: s.URL}, nil
		}
		return r, err
	})
}

// endpoint is where a token request goes.
type endpoint struct {
	issuer, token       string // issuer: empty if the endpoint was set by hand
	methods, algorithms []string
}

func endpointOf(m *oauthclient.Server) endpoint {
	return endpoint{issuer: m.Issuer, token: m.Token, methods: m.Methods, algorithms: m.Algorithms}
}

// exchangeEndpoint returns where tokens are exchanged: at the identity provider, or at the endpoint that an administrator set in its
// place.
func (x *Exchanger) exchangeEndpoint(ctx context.Context, j *job) (endpoint, error) {
	if j.how.Grant != directory.GrantIDJAG && j.how.TokenEndpoint != "" {
		return endpoint{token: j.how.TokenEndpoint}, nil
	}
	m, err := x.metadata(ctx, j.provider.Issuer)
	if err != nil {
		return endpoint{}, err
	}
	return endpointOf(m), nil
}

// redeemEndpoint returns where an identity assertion for a server is redeemed: at the issuer that an administrator pinned, which
// must be one that the server names, and at the endpoint in its metadata, which must be the pinned one, if one is (JAU-4).
func (x *Exchanger) redeemEndpoint(ctx context.Context, j *job, r oauthclient.Resource) (endpoint, error) {
	if len(r.Servers) > 0 && !slices.Contains(r.Servers, j.how.Issuer) {
		return endpoint{}, refuse(oauthclient.ReasonIssuer,
			"The server %q does not name %s as its authorization server (token_exchange.issuer).", j.server.Name, j.how.Issuer)
	}
	m, err := x.metadata(ctx, j.how.Issuer)
	if err != nil {
		return endpoint{}, err
	}
	if j.how.TokenEndpoint != "" && j.how.TokenEndpoint != m.Token {
		return endpoint{}, refuse(oauthclient.ReasonIssuer,
			"The metadata of %s name another token endpoint than token_exchange.token_endpoint.", j.how.Issuer)
	}
	return endpointOf(m), nil
}

// atProvider returns Penstock's client at the identity provider.
func (x *Exchanger) atProvider(ctx context.Context, j *job, e endpoint) (oauthclient.Identity, error) {
	p := j.provider
	if p.SecretVersion == "" {
		return oauthclient.Identity{ID: p.ClientID, Method: oauthclient.MethodNone}, nil
	}
	secret, err := x.secret(ctx, p.UID, p.SecretVersion, "The identity provider %q has no client secret stored: set client_secret anew.", p.Title())
	return oauthclient.Identity{ID: p.ClientID, Method: oauthclient.SecretMethod(e.methods), Secret: secret}, err
}

// atServer returns the client that an administrator set for the server. Its secret is never the provider's: that one goes to the
// provider only.
func (x *Exchanger) atServer(ctx context.Context, j *job, e endpoint) (oauthclient.Identity, error) {
	how := j.how
	id := how.ClientID
	if id == "" {
		id = j.provider.ClientID
	}
	if how.SecretVersion == "" {
		return oauthclient.Identity{ID: id, Method: oauthclient.MethodNone}, nil
	}
	secret, err := x.secret(ctx, j.server.UID, how.SecretVersion, "The server %q has no client secret stored: set token_exchange.client_secret anew.", j.server.Name)
	method := oauthclient.SecretMethod(e.methods)
	if how.PrivateKey {
		method = oauthclient.MethodPrivateKey
	}
	return oauthclient.Identity{ID: id, Method: method, Secret: secret}, err
}

func (x *Exchanger) secret(ctx context.Context, owner, version, missing, name string) (obs.Secret, error) {
	s, err := x.c.Vault.Resolve(ctx, owner, version)
	if fault.KindOf(err) == fault.Precondition || err == nil && s.ClientSecret == "" { // no caller can mend that
		return "", refuse(oauthclient.ReasonClient, missing, name).Because(err)
	}
	return s.ClientSecret, err
}
