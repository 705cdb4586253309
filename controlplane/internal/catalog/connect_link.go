// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Catalog.CreateConnectLink], besides [ReasonConnectNotAllowed] and [ReasonNoSecrets].
const (
	// ReasonConnectRequiresUser (Denied): a caller who is no person has no credential to give.
	ReasonConnectRequiresUser = "CONNECT_REQUIRES_USER"
	// ReasonNotConnectable (Precondition): people give no credential for the server.
	ReasonNotConnectable = "SERVER_NOT_CONNECTABLE"
)

// ConnectLink is where a person gives a credential for a server.
type ConnectLink struct {
	URL        string // on the authserver; only the person can use it, once
	ExpireTime time.Time
}

// CreateConnectLink makes a link under which the caller gives Penstock a credential for a server, without a call of a tool: a server
// that shows its tools to nobody without one is discovered then. Whoever may have a connection of the server may, as by
// [Catalog.ConnectServer]. It makes no revision. Faults: Denied with reason CONNECT_REQUIRES_USER or CONNECT_NOT_ALLOWED, NotFound,
// Precondition with reason SERVER_NOT_CONNECTABLE, or SECRETS_NOT_CONFIGURED without an authserver, and those of the authserver:
// Exhausted with reason TOO_MANY_CONNECT_LINKS (EL-11), Unavailable.
func (c *Catalog) CreateConnectLink(ctx context.Context, caller Caller, server string) (ConnectLink, error) {
	if caller.UserUID == "" {
		return ConnectLink{}, fault.New(fault.Denied, ReasonConnectRequiresUser, "Only a person can connect a server: use a token for the admin API that is a user's.")
	}
	var s *Server
	err := c.cfg.Store.Read(ctx, func(_ Head, r Reader) (err error) {
		s, err = connectable(ctx, desk.New(r, caller), server)
		return err
	})
	if err != nil {
		return ConnectLink{}, err
	}
	if c.cfg.Secrets == nil {
		return ConnectLink{}, fault.New(fault.Precondition, ReasonNoSecrets, "There is no authserver to keep credentials; start one.")
	}
	var link ConnectLink
	if link.URL, link.ExpireTime, err = c.cfg.Secrets.CreateConnectLink(ctx, caller.UserUID, s.Name); err != nil {
		return ConnectLink{}, fmt.Errorf("create a connect link for server %s: %w", s.Name, err)
	}
	return link, nil
}

// connectable returns a server that the caller may connect.
func connectable(ctx context.Context, d *desk.Desk, name string) (*Server, error) {
	s, err := desk.See[*Server](ctx, d, KindServer, name)
	if err != nil {
		return nil, err
	}
	outside := access.OwnerMayUse(s, &resource.Owner{User: d.Caller.Email}, d.Memberships(ctx))
	if err := d.Failed(); err != nil {
		return nil, err
	}
	switch {
	case outside != nil:
		return nil, fault.Newf(fault.Denied, ReasonConnectNotAllowed, "You may not connect %q: it is not visible to you. Ask an administrator.", s.Name)
	case !s.Connectable():
		return nil, fault.Newf(fault.Precondition, ReasonNotConnectable, "People give no credential for the server %q: %s.", s.Name, instead(s))
	default:
		return s, nil
	}
}

// instead says what a server that people do not connect is called with, and what mends it where something does.
func instead(s *Server) string {
	switch k := s.Credential; {
	case s.ServiceAccount():
		return "everybody calls it with the tokens of one client, whose client_secret is set on the server"
	case k != nil && k.StaticEnv != nil:
		return "it gets environment variables, which are set as secret_env of a connection"
	default:
		return "it needs none"
	}
}
