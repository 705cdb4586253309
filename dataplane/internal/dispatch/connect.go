// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/invite"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Links makes links under which people connect servers (auth.md §11). Its faults are Exhausted, when the person has too many
// open ones, Precondition, when the server is none to connect, and Unavailable.
type Links interface {
	// Link makes a link for a person, to connect a server that was called at a gateway. scope is what the server wants besides what
	// it wants of everybody, with a space between; empty: nothing.
	Link(ctx context.Context, p ident.Principal, server, gateway, scope string) (url string, err error)
}

// Reasons of what the authserver and the upstreams say of credentials.
const (
	reasonUnreadableCredential = "CREDENTIAL_UNREADABLE"
	reasonDeadCredential       = "CREDENTIAL_DEAD"
	reasonUnauthorized         = "UPSTREAM_UNAUTHORIZED"
)

// noConnection is a caller for whom there is no connection to choose (G-12, UP-2).
func noConnection(c *call.Caller, s *view.Server, t *target) error {
	if s.ServiceAccount() {
		return fault.Newf(fault.Precondition, ReasonCredentialMissing, "There is no connection of %q for this %s to run with.", title(s), t.what)
	}
	if c.Principal.Kind != ident.KindUser {
		return fault.Newf(fault.Precondition, ReasonRequiresUser,
			"This %s runs with the caller's own connection of %q, and this token is nobody's. Call it as a person, or ask an administrator for a connection that you share.",
			t.what, title(s))
	}
	return fault.Newf(fault.Precondition, ReasonCredentialMissing, "You have not connected %q yet.", title(s))
}

// title is what people call a server.
func title(s *view.Server) string {
	if s.DisplayName != "" {
		return s.DisplayName
	}
	return s.Name
}

// upstreamRefused says of a refusal of the upstream what it means to the caller: it is never one of ours (UP-8).
func upstreamRefused(err error) error {
	if f := fault.From(err); f.Reason == reasonUnauthorized {
		return fault.New(fault.Precondition, ReasonAuthFailed, f.Public).Because(err)
	}
	return err
}

// returned reads the requestState of a retry where it is one of those that ask to connect a server. It is Invalid if it was
// given to somebody else or for another request (EL-7), and Precondition if the person said no (EL-8). All others are bridge's,
// or the upstream's.
func (d *Dispatcher) returned(c *call.Caller, k *call.Call, t *target) error {
	raw := k.Message.P.RequestState.Of(k.Body)
	if raw == nil || c.Version.Era() != wire.Modern {
		return nil
	}
	s, ok := invite.Open(d.Sealer, c.Gateway.UID, raw)
	if !ok {
		return nil
	}
	digest, ok := wire.DigestOf(k.Params, t.server, k.Method)
	if !ok {
		return invalidState()
	}
	switch err := s.Check(c.Principal.Key(), c.Principal.ClientID, digest, time.Now()); {
	case errors.Is(err, invite.ErrExpired):
		return fault.New(fault.Invalid, ReasonState, "requestState has expired").Because(err)
	case err != nil:
		return invalidState().Because(err)
	}
	if t.round = s.Round; invite.Declined(k.Message.P.InputResponses.Of(k.Body)) {
		return fault.New(fault.Precondition, ReasonConnectDeclined, "The page to connect the server was declined.")
	}
	return nil
}

func invalidState() *fault.Fault {
	return fault.New(fault.Invalid, ReasonState, "requestState is not valid")
}

// refused answers a call that came to a fault. Where a person can mend it by connecting the server, they are told how (G-13).
func (d *Dispatcher) refused(ctx context.Context, c *call.Caller, k *call.Call, t *target, f *fault.Fault) (call.Reply, error) {
	server := c.Snapshot.Server(t.server)
	if server != nil && server.ServiceAccount() && isOfCredential(f) {
		text := f.Public + " Ask an administrator: all calls of " + title(server) + " run as one service account."
		return answer(c.Version, t, fault.New(f.Kind, f.Reason, text).Because(f), "")
	}
	if server == nil || !d.mendable(c, k, t, server, f) {
		return answer(c.Version, t, f, "")
	}
	if t.round == 0 && lacksCredential(f) && c.Version.Era() == wire.Modern && k.Message.P.RequestState.Present() {
		return call.Reply{}, invalidState() // not ours, and nobody is asked who would know it
	}
	url, err := d.Links.Link(ctx, c.Principal, server.Name, c.Gateway.Name, wantedScope(f))
	if err != nil {
		return answer(c.Version, t, fault.From(err), "")
	}
	text := "Connect " + title(server) + ": " + url
	if !lacksCredential(f) {
		return answer(c.Version, t, fault.New(f.Kind, f.Reason, f.Public+" "+text).Because(f), url)
	}
	page := invite.Page{Message: "Connect " + title(server) + " to go on.", URL: url}
	switch {
	case !invite.Shown(c.Version, c.Client.Capabilities):
	case c.Version.Era() != wire.Modern:
		return call.Reply{Error: page.Required()}, nil
	case t.round < invite.Rounds:
		digest, ok := wire.DigestOf(k.Params, t.server, k.Method)
		if !ok {
			return call.Reply{}, invalidState()
		}
		next := invite.State{Round: t.round + 1, Principal: c.Principal.Key(), Client: c.Principal.ClientID, Digest: digest}
		return call.Reply{Result: page.Asked(next.Seal(d.Sealer, c.Gateway.UID, time.Now()))}, nil
	}
	return answer(c.Version, t, fault.New(f.Kind, f.Reason, text).Because(f), url)
}

// wantedScope returns the scopes that a call was refused for, empty if the server named none.
func wantedScope(f *fault.Fault) string {
	var wanted interface{ WantedScope() string } // upstream's
	if f.Reason != ReasonScope || !errors.As(f, &wanted) {
		return ""
	}
	return wanted.WantedScope()
}

// lacksCredential reports whether a call did not run because there is no credential, or none that is good for anything.
func lacksCredential(f *fault.Fault) bool {
	switch f.Reason {
	case ReasonCredentialMissing, reasonUnreadableCredential, reasonDeadCredential:
		return true
	}
	return false
}

// isOfCredential reports whether a fault is about the credential of a call: there is none, or the upstream does not take it.
func isOfCredential(f *fault.Fault) bool {
	return lacksCredential(f) || f.Reason == ReasonAuthFailed || f.Reason == ReasonScope
}

// mendable reports whether the caller can mend a fault by connecting the server: a person, whose calls choose their own
// connection before others, or are pinned to it, or run as that person whatever the connection (G-12).
func (d *Dispatcher) mendable(c *call.Caller, k *call.Call, t *target, server *view.Server, f *fault.Fault) bool {
	if d.Links == nil || c.Principal.Kind != ident.KindUser || !mayAsk(k.Method) {
		return false
	}
	if !isOfCredential(f) || !server.NeedsSecret && !lacksCredential(f) {
		return false
	}
	if t.atCall || server.CallerOnly {
		return true
	}
	pinned := c.Snapshot.Connection(t.connection)
	return pinned != nil && c.Snapshot.Connects(pinned, c.Principal)
}

// mayAsk reports whether the answer to a method may be a question (EL-7).
func mayAsk(method string) bool {
	return method == methodCallTool || method == methodGetPrompt || method == methodRead
}
