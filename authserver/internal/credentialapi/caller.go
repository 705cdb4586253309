// SPDX-License-Identifier: Apache-2.0

package credentialapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// Reasons of the faults of this room.
const (
	// ReasonCaller: the caller showed no certificate that names a workload (Unauthenticated).
	ReasonCaller = "WORKLOAD_UNKNOWN"
	// ReasonRole: the caller's role may not do this (Denied).
	ReasonRole = "WORKLOAD_ROLE_DENIED"
	// ReasonBanned: the caller is shut out (Denied).
	ReasonBanned = "WORKLOAD_BANNED"
	// ReasonRequest: a message that breaks its rules (Invalid).
	ReasonRequest = "REQUEST_INVALID"
)

// Identify says which workload sent a request.
type Identify func(*http.Request) (ident.Workload, error)

// FromTLS is an [Identify] for requests over TLS that tlsx has verified.
func FromTLS(r *http.Request) (ident.Workload, error) {
	if r.TLS == nil {
		return ident.Workload{}, fault.New(fault.Unauthenticated, ReasonCaller, "The connection has no client certificate.")
	}
	return tlsx.Peer(*r.TLS)
}

// Fixed returns an [Identify] for a transport in memory that only w can use.
func Fixed(w ident.Workload) Identify {
	return func(*http.Request) (ident.Workload, error) { return w, nil }
}

type callerKey struct{}

// identified is what Identify said; its error is answered per call, where a Connect error can be made of it.
type identified struct {
	workload ident.Workload
	err      error
}

func callerOf(ctx context.Context) identified {
	c, _ := ctx.Value(callerKey{}).(identified) // absent: the zero workload, which no role matches
	return c
}

// call is one call as it is judged and reported.
type call struct {
	operation           string
	connection, version string
	server              string       // name
	principal           string       // hash, empty if none
	count               int          // of deleted versions
	roles               []ident.Role // who may
	message             proto.Message
	quiet               bool // nothing secret is released: a success is no audit line
}

// admit checks who calls: that it is not banned, and by role.
func (a *API) admit(ctx context.Context, c *call) error {
	caller := callerOf(ctx)
	switch {
	case caller.err != nil:
		return fault.New(fault.Unauthenticated, ReasonCaller, "The caller is no workload that is known here.").Because(caller.err)
	case a.directory.Banned(caller.workload):
		return fault.New(fault.Denied, ReasonBanned, "This workload is banned.")
	case !slices.Contains(c.roles, caller.workload.Role):
		return fault.Newf(fault.Denied, ReasonRole, "Only a workload of the role %s may do this.", anyOf(c.roles))
	}
	return nil
}

func nodes() []ident.Role { return []ident.Role{ident.RoleNode} }

func controlPlanes() []ident.Role { return []ident.Role{ident.RoleControlPlane} }

// anyOf lists roles for people: "node or controlplane".
func anyOf(roles []ident.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}
