// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Reasons of the faults of a resolver, besides those of the rooms that it asks.
const (
	// reasonBehind: the node knows another way to get the credential than this authserver (Unavailable); one of them hears soon.
	reasonBehind = "CREDENTIAL_VERSION_UNKNOWN"
	// reasonKind: the credential is of a kind of a later release (Unavailable).
	reasonKind = "CREDENTIAL_KIND_UNKNOWN"
	// reasonPerson: only a person can have the credential (Precondition, UP-2).
	reasonPerson = "CREDENTIAL_REQUIRES_USER"
	// reasonProvider: the identity provider that the credential is made of is not there or is disabled (Precondition).
	reasonProvider = "UPSTREAM_PROVIDER_UNKNOWN"
)

// resolver leads to whoever has, or makes, the credential of a connection: that is decided by the kind of its server.
type resolver struct {
	view      func() *directory.View // nil before the first state
	upstream  *upstream.Upstream
	subjects  *subject.Keeper
	exchanger *exchange.Exchanger
}

// Resolve implements credentialapi.Credentials.
func (r resolver) Resolve(ctx context.Context, w credentialapi.Wanted) (vault.Secret, time.Time, error) {
	s := r.serverOf(w.Connection)
	switch {
	case s == nil || s.Made == "":
		return r.upstream.Resolve(ctx, w.Connection, w.Version, w.Refused)
	case s.Made != w.Version:
		return vault.Secret{}, time.Time{}, fault.New(fault.Unavailable, reasonBehind, "How the credential is got was changed a moment ago.").After(time.Second)
	case s.Client != nil:
		return r.upstream.ClientToken(ctx, s, w.Refused)
	case s.Exchange != nil:
		return r.exchange(ctx, s, w)
	case s.ProviderGive != nil:
		return r.give(ctx, s, w)
	default:
		return vault.Secret{}, time.Time{}, fault.New(fault.Unavailable, reasonKind, "This authserver does not know the kind of the credential: update it.")
	}
}

// exchange makes the credential of a server that takes what the caller's token of an identity provider is exchanged for.
func (r resolver) exchange(ctx context.Context, s *directory.Server, w credentialapi.Wanted) (vault.Secret, time.Time, error) {
	user, err := r.person(w)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	return r.exchanger.Resolve(ctx, s, user, w.SubjectToken, w.SubjectProvider, w.Refused)
}

// give makes the credential of a server that the caller's identity provider gives tokens for.
func (r resolver) give(ctx context.Context, s *directory.Server, w credentialapi.Wanted) (vault.Secret, time.Time, error) {
	user, err := r.person(w)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	p, err := r.provider(s)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	return r.subjects.Give(ctx, user, p, s, w.Refused)
}

// person returns the uid of the person whose tokens a credential is made of: of the caller (UP-1), and for a discovery of whose own
// connection it is. Nobody else has any (UP-2).
func (r resolver) person(w credentialapi.Wanted) (string, error) {
	switch {
	case w.Principal.Kind == ident.KindUser && w.Principal.UID != "":
		return w.Principal.UID, nil
	case w.Principal.Kind == "":
		view := r.view()
		if c := view.Connection(w.Connection); c != nil && c.Owner != "" {
			if u := view.UserByName(c.Owner); u != nil {
				return u.UID, nil
			}
		}
	}
	return "", fault.New(fault.Precondition, reasonPerson, "The server takes only people, as themselves: call it, or connect it, as a user who logs in.")
}

// provider returns the identity provider that a server's credential is made of.
func (r resolver) provider(s *directory.Server) (*directory.Provider, error) {
	p := r.view().Provider(s.Provider())
	if p == nil {
		return nil, fault.Newf(fault.Precondition, reasonProvider,
			"The identity provider %q, which the credential of the server %q is made of, is not there or is disabled.", s.Provider(), s.Name)
	}
	return p, nil
}

// serverOf returns the server of a connection (uid), nil if this authserver has no part in it.
func (r resolver) serverOf(connection string) *directory.Server {
	view := r.view()
	if view == nil {
		return nil
	}
	c := view.Connection(connection)
	if c == nil {
		return nil
	}
	return view.Server(c.Server)
}
