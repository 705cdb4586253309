// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// pauseUnreachable and pauseRefused are how long after a failure nobody asks the authorization server again: calls go on
	// coming, at any rate, and each would. Who mends a server's settings makes another version of its credential, which asks at once.
	pauseUnreachable = 5 * time.Second
	pauseRefused     = 30 * time.Second
)

// service is what is known of the token of Penstock's own client for one server. It is immutable; nothing of it is ever stored: a
// lost token costs a request.
type service struct {
	made, url string // version of the credential, and whom the token is for (UP-3)

	grant  grant     // of which Access, Obtained and Expires are used
	failed error     // of the last request; nil: it gave the token
	tried  time.Time // when that was
	forced time.Time // when the last one was that had to be because the server refused a token
}

// ClientToken returns a header with an access token that Penstock gets as a client of its own for a server (RFC 6749 §4.4), and
// until when it may be kept. It is the same for all callers: one request for all who ask this authserver, again before the token
// ends, or where the server refused the last one, but for that once a minute. What cannot be had now leaves the token that there is,
// to its end.
//
// The faults are those of [vault.Vault.Resolve], Precondition UPSTREAM_METADATA, UPSTREAM_ISSUER_MISMATCH,
// UPSTREAM_RESOURCE_MISMATCH, UPSTREAM_INSECURE, UPSTREAM_CLIENT_REFUSED and UPSTREAM_RESPONSE_INVALID (an administrator mends it),
// those of [egress], and Unavailable UPSTREAM_UNREACHABLE.
func (u *Upstream) ClientToken(ctx context.Context, s *directory.Server, refused bool) (vault.Secret, time.Time, error) {
	have := u.services.get(s)
	if !u.serviceDue(have, refused) {
		return u.serviceBearer(have, refused)
	}
	done := u.renewed.DoChan("client "+s.UID+" "+s.Made+" "+s.URL, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		next := u.services.get(s)
		if u.serviceDue(next, refused) { // nobody was faster
			next = u.serviceRenew(ctx, s, next, refused)
			u.services.put(s, next, u.c.View())
		}
		return next, nil
	})
	select {
	case <-ctx.Done():
		return vault.Secret{}, time.Time{}, ctx.Err()
	case r := <-done:
		next, _ := r.Val.(service)
		return u.serviceBearer(next, refused)
	}
}

// serviceDue reports whether a token is to be asked for now.
func (u *Upstream) serviceDue(have service, refused bool) bool {
	now := u.c.Now()
	if have.failed != nil {
		pause := pauseRefused
		if fault.KindOf(have.failed) == fault.Unavailable {
			pause = pauseUnreachable
		}
		if now.Sub(have.tried) < pause {
			return false
		}
	}
	return have.grant.Access == "" || u.due(&have.grant, refused && now.Sub(have.forced) >= forcedOnce)
}

// serviceBearer gives out what there is.
func (u *Upstream) serviceBearer(have service, refused bool) (vault.Secret, time.Time, error) {
	if have.failed != nil && !u.good(&have.grant, refused) {
		return vault.Secret{}, time.Time{}, have.failed
	}
	secret, until := u.bearer(&have.grant)
	return secret, until, nil
}

// serviceRenew asks for a token.
func (u *Upstream) serviceRenew(ctx context.Context, s *directory.Server, have service, refused bool) service {
	next := service{made: s.Made, url: s.URL, grant: have.grant, tried: u.c.Now(), forced: have.forced}
	if refused {
		next.forced = next.tried
	}
	t, err := u.serviceAsk(ctx, s)
	if err == nil {
		next.grant = grant{Access: t.Access.Reveal(), Obtained: next.tried, Expires: t.Expires}
		u.Record(ctx, u.event(s, actionRefreshed, "ok", ""))
		return next
	}
	next.failed = err
	u.c.Log.WarnContext(ctx, "upstream client token not renewed", slog.String(obs.AttrServer, s.Name), obs.Fault(err))
	if fault.KindOf(err) != fault.Unavailable { // somebody has to mend it
		u.Record(ctx, u.event(s, actionFailed, "refused", fault.From(err).Reason))
	}
	return next
}

// serviceAsk finds the token endpoint and sends the token request (RFC 6749 §4.4.2).
func (u *Upstream) serviceAsk(ctx context.Context, s *directory.Server) (oauthclient.Tokens, error) {
	ask := oauthclient.Requester{
		Egress: u.c.Egress, Now: u.c.Now,
		Settings: oauthclient.Settings{Issuer: "oauth_client_credentials.issuer", Endpoints: "oauth_client_credentials.token_endpoint"},
	}
	f, err := serviceServer(ctx, ask, s)
	if err != nil {
		return oauthclient.Tokens{}, err
	}
	who, err := u.serviceIdentity(ctx, s, f)
	if err != nil {
		return oauthclient.Tokens{}, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(f.wantedScopes) > 0 {
		form.Set("scope", strings.Join(f.wantedScopes, " "))
	}
	if !s.Client.NoResource {
		form.Set("resource", f.resource) // RFC 8707 §2.2
	}
	t, err := ask.Token(ctx, oauthclient.TokenRequest{
		Endpoint: f.Token, Issuer: f.Issuer, Algorithms: f.Algorithms, Identity: who, Form: form,
	})
	if refusal, ok := errors.AsType[*oauthclient.Refusal](err); ok {
		return t, serviceRefused(s, refusal)
	}
	return t, err
}

// serviceServer finds the authorization server: the token endpoint that an administrator set, else the metadata of the pinned issuer,
// else of the one that the server names (RFC 9728).
func serviceServer(ctx context.Context, ask oauthclient.Requester, s *directory.Server) (*found, error) {
	c := s.Client
	f := &found{Server: oauthclient.Server{Issuer: c.Issuer, Token: c.TokenEndpoint}, resource: s.URL, wantedScopes: c.Scopes}
	if c.TokenEndpoint != "" {
		return f, nil
	}
	if f.Issuer == "" {
		said, err := ask.Resource(ctx, s.Name, s.URL)
		if err != nil {
			return nil, err
		}
		f.Issuer, f.resource = said.Servers[0], said.Resource
		if len(c.Scopes) == 0 {
			f.wantedScopes = said.Scopes
		}
	}
	said, err := ask.Server(ctx, f.Issuer)
	if err != nil {
		return nil, err
	}
	f.Server = *said
	return f, nil
}

// serviceIdentity opens the secret, or the private key, of the client.
func (u *Upstream) serviceIdentity(ctx context.Context, s *directory.Server, f *found) (oauthclient.Identity, error) {
	who := oauthclient.Identity{ID: s.Client.ClientID, Method: oauthclient.SecretMethod(f.Methods)}
	if s.Client.PrivateKey {
		who.Method = oauthclient.MethodPrivateKey
	}
	missing := refuse(ReasonClient, "The server %q has no client secret stored: set oauth_client_credentials.client_secret.", s.Name)
	if s.Client.SecretVersion == "" {
		return who, missing
	}
	secret, err := u.c.Vault.Resolve(ctx, s.UID, s.Client.SecretVersion)
	if err == nil && secret.ClientSecret == "" {
		err = missing
	}
	who.Secret = secret.ClientSecret
	return who, err
}

// serviceRefused makes a fault of an error of a token endpoint: what an administrator mends.
func serviceRefused(s *directory.Server, cause *oauthclient.Refusal) error {
	reason, text := ReasonResponse, "The token endpoint of %q refuses the request."
	switch cause.Code {
	case "invalid_client":
		reason, text = ReasonClient, "The authorization server of %q does not take Penstock's client: check client_id, client_secret and authentication."
	case "unauthorized_client", "unsupported_grant_type":
		reason, text = ReasonClient, "The authorization server of %q gives this client no tokens of its own: allow it the grant client_credentials there."
	case "invalid_scope":
		text = "The authorization server of %q refuses the scopes: check oauth_client_credentials.scopes."
	case "invalid_target":
		text = "The authorization server of %q refuses the parameter resource: set oauth_client_credentials.no_resource."
	}
	return refuse(reason, text, s.Name).Because(cause)
}

// services has one token for each server, in memory.
type services struct {
	mu   sync.Mutex
	have map[string]service // by the server's uid
}

// get returns what there is of the version of a server's credential, the zero value for nothing.
func (x *services) get(s *directory.Server) service {
	x.mu.Lock()
	defer x.mu.Unlock()
	if have := x.have[s.UID]; have.made == s.Made && have.url == s.URL {
		return have
	}
	return service{}
}

// put keeps a token, and drops those of servers that are gone.
func (x *services) put(s *directory.Server, next service, view *directory.View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.have == nil {
		x.have = make(map[string]service)
	}
	x.have[s.UID] = next
	if view == nil {
		return
	}
	there := make(map[string]bool)
	for _, s := range view.Servers() {
		there[s.UID] = true
	}
	maps.DeleteFunc(x.have, func(uid string, _ service) bool { return !there[uid] })
}
