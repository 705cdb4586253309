// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of a resolver, besides those of the rooms that it asks.
const (
	// reasonBehind: the node knows another way to get the credential than this authserver (Unavailable); one of them hears soon.
	reasonBehind = "CREDENTIAL_VERSION_UNKNOWN"
	// reasonKind: the credential is of a kind of a later release (Unavailable).
	reasonKind = "CREDENTIAL_KIND_UNKNOWN"
)

// resolver leads to whoever has, or makes, the credential of a connection: that is decided by the kind of its server.
type resolver struct {
	view     func() *directory.View // nil before the first state
	upstream *upstream.Upstream
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
	default:
		return vault.Secret{}, time.Time{}, fault.New(fault.Unavailable, reasonKind, "This authserver does not know the kind of the credential: update it.")
	}
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
