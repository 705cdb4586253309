// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the refusal of a credential (D-85).
const (
	// ReasonOutOfScope: no gateway that the node serves uses the connection, or there is no such connection (Denied).
	ReasonOutOfScope = "CONNECTION_OUT_OF_SCOPE"
	// ReasonGatewayOutOfScope: the node does not serve the gateway of a connect link, or there is no such gateway (Denied).
	ReasonGatewayOutOfScope = "GATEWAY_OUT_OF_SCOPE"
	// ReasonPrincipal: the user that a call is for, or whose own the connection is, is gone or deactivated (Denied).
	ReasonPrincipal = "PRINCIPAL_UNKNOWN"
	// ReasonNoDirectory: nothing was heard of a control plane yet, ever (Unavailable).
	ReasonNoDirectory = "DIRECTORY_NOT_LOADED"
)

const (
	// releaseGrace is how long a refusal waits for the directory: a node may obey a change some milliseconds earlier.
	releaseGrace = 2 * time.Second
	// denialEvery bounds how often the same denial is recorded: a node that is shut out may try for ever.
	denialEvery = time.Minute
	maxDenials  = 10_000
)

// release decides who may have a credential. It implements credentialapi.Directory.
type release struct {
	follower *directory.Follower
	bans     *directory.Bans
	fresh    func() bool // a control plane is heard: the directory will say what it says
	audit    store.OAuth
	log      *slog.Logger

	mu       sync.Mutex
	recorded map[denial]time.Time
}

// denial is what makes two denials the same.
type denial struct{ actor, target, reason string }

// Banned implements credentialapi.Directory.
func (r *release) Banned(w ident.Workload) bool { return r.bans.Banned(w) }

// MayResolve implements credentialapi.Directory.
func (r *release) MayResolve(ctx context.Context, node ident.Workload, connection string, p ident.Principal) error {
	return r.settle(ctx, func(v *directory.View) error { return judge(v, node, connection, p) })
}

// MayConnect implements credentialapi.Directory.
func (r *release) MayConnect(ctx context.Context, asker ident.Workload, gateway, user, server string) error {
	err := r.settle(ctx, func(v *directory.View) error { return judgeLink(v, asker, gateway, user) })
	if err != nil || asker.Role == ident.RoleNode {
		return err
	}
	// A control plane has checked the server, which may be a moment old. What is wrong with it still then is said by the maker of links.
	_ = r.settle(ctx, func(v *directory.View) error {
		if s := v.Server(server); s == nil || !s.Connectable() {
			return noDirectory()
		}
		return nil
	})
	return nil
}

// settle decides by the newest view, and waits a moment for a newer one before it refuses.
func (r *release) settle(ctx context.Context, decide func(*directory.View) error) error {
	ctx, cancel := context.WithTimeout(ctx, releaseGrace)
	defer cancel()
	for {
		changed := r.follower.Changed()
		v := r.follower.View()
		err := decide(v)
		if err == nil || v != nil && !r.fresh() {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return err
		}
	}
}

// judge decides by one view.
func judge(v *directory.View, node ident.Workload, connection string, p ident.Principal) error {
	switch {
	case v == nil:
		return noDirectory()
	case !v.Reaches(connection, node.Region):
		return fault.New(fault.Denied, ReasonOutOfScope, "No gateway that this node serves uses the connection.")
	case p.Kind == ident.KindUser && p.UID != "" && v.User(p.UID) == nil:
		return fault.New(fault.Denied, ReasonPrincipal, "The user is not there or is deactivated.")
	case v.Orphaned(connection): // a discovery has no principal
		return fault.New(fault.Denied, ReasonPrincipal, "The user whose own the connection is is not there or is deactivated.")
	}
	return nil
}

// judgeLink decides by one view whether a link may be made.
func judgeLink(v *directory.View, asker ident.Workload, gateway, user string) error {
	if v == nil {
		return noDirectory()
	}
	if g := v.GatewayByName(gateway); asker.Role == ident.RoleNode && (g == nil || !g.InRegion(asker.Region)) {
		return fault.New(fault.Denied, ReasonGatewayOutOfScope, "This node does not serve the gateway.")
	}
	if v.User(user) == nil {
		return fault.New(fault.Denied, ReasonPrincipal, "The user is not there or is deactivated.")
	}
	return nil
}

func noDirectory() error {
	return fault.New(fault.Unavailable, ReasonNoDirectory, "The authserver has not heard of a control plane yet.").After(time.Second)
}

// RecordDenial implements credentialapi.Directory.
func (r *release) RecordDenial(ctx context.Context, e store.Event) {
	if !r.first(denial{e.Actor, e.Target, e.Reason}, e.Time) {
		return
	}
	err := r.audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		r.log.ErrorContext(ctx, "denial not recorded", obs.Fault(err))
	}
}

// first reports whether a denial was not recorded within the last minute.
func (r *release) first(d denial, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.recorded[d]; ok && now.Sub(last) < denialEvery {
		return false
	}
	if len(r.recorded) >= maxDenials {
		clear(r.recorded)
	}
	r.recorded[d] = now
	return true
}
