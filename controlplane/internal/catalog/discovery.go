// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/definition"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// DiscoveryTarget returns what a node needs to list a server's tools, if the caller manages the server. Without the name
// of a connection it is the organisation's, else a team's, else any, first by name, among those with the credential that
// the server needs; nil for a server that needs none. Callers other than an ADMIN choose among connections they may see.
func (c *Catalog) DiscoveryTarget(ctx context.Context, caller Caller, server, connection string) (s *Server, conn *Connection, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		d := c.desk(r, caller)
		o, err := d.visible(ctx, KindServer, server)
		if err != nil {
			return err
		}
		s = o.(*Server) //nolint:forcetypeassert,errcheck // the kind decides the type
		who, err := d.who(ctx)
		if err != nil {
			return err
		}
		if err := who.Manages(s); err != nil {
			return err
		}
		conn, err = d.discoveryConnection(ctx, s, connection)
		return err
	})
	return s, conn, err
}

func (d *desk) discoveryConnection(ctx context.Context, s *Server, name string) (*Connection, error) {
	if name != "" {
		o, err := d.visible(ctx, KindConnection, name)
		if err != nil {
			return nil, err
		}
		c := o.(*Connection) //nolint:forcetypeassert,errcheck // the kind decides the type
		switch {
		case c.Server != s.Name:
			return nil, fault.Newf(fault.Invalid, ReasonPinOtherServer, "The connection %q is of the server %q, not of %q.", c.Name, c.Server, s.Name)
		case needsSecret(s) && c.CredentialVersion == "":
			return nil, fault.Newf(fault.Precondition, ReasonCredentialMissing, "The connection %q has no credential; set its secret_headers or secret_env.", c.Name)
		}
		return c, nil
	}
	if !needsSecret(s) {
		return nil, nil
	}
	connections, err := all[*Connection](ctx, d, KindConnection)
	if err != nil {
		return nil, err
	}
	var best *Connection
	for _, c := range connections {
		if c.Server != s.Name || c.CredentialVersion == "" || best != nil && rank(c) >= rank(best) {
			continue
		}
		ok, err := d.sees(ctx, c)
		if err != nil {
			return nil, err
		}
		if ok {
			best = c
		}
	}
	if best == nil {
		return nil, fault.Newf(fault.Precondition, ReasonCredentialMissing,
			"The server %q needs a credential, and there is no connection of it with one; create a connection with secrets first.", s.Name)
	}
	return best, nil
}

func rank(c *Connection) int {
	switch {
	case c.Owner == nil || c.Owner.User != "":
		return 2
	case c.Owner.Team != "":
		return 1
	default:
		return 0
	}
}

// RecordDiscovery stores what a node learned from a server, as one revision at most (D-5). New tools are known from then
// on and on no gateway. A changed definition waits to be accepted, or is accepted at once, as the server's tool_changes
// says (G-16). Tools that are gone are marked REMOVED and stay where they are assigned. A definition that cannot be used
// is left out, which the server's status says.
func (c *Catalog) RecordDiscovery(ctx context.Context, server string, found Discovery) (DiscoveryOutcome, error) {
	tools, left := definitions(found.Tools)
	var out DiscoveryOutcome
	rev, _, err := c.write(ctx, Caller{System: true}, false, nil, func(d *draft) error {
		out = DiscoveryOutcome{}
		s, err := find[*Server](ctx, d.desk, KindServer, server)
		if err != nil {
			return err
		}
		if s == nil {
			return notFound(KindServer, server)
		}
		if err := d.recordTools(ctx, s, tools, &out); err != nil {
			return err
		}
		return d.recordServer(ctx, s, found, len(tools))
	})
	if err != nil {
		return DiscoveryOutcome{}, err
	}
	out.Revision = rev
	f := fact{Time: c.cfg.Now().UTC()}
	if len(left) > 0 {
		f.Reason, f.Detail = "TOOLS_LEFT_OUT", fmt.Sprintf("%d definitions cannot be used: %s", len(left), listed(left))
	}
	return out, c.note(ctx, noteDiscovery, server, f)
}

// definitions reads tool definitions; the first of two with one name counts.
func definitions(raw [][]byte) (map[string]definition.Definition, []string) {
	out := make(map[string]definition.Definition, len(raw))
	var left []string
	for i, b := range raw {
		d, err := definition.Parse(b)
		switch {
		case err != nil:
			left = append(left, fmt.Sprintf("number %d: %v", i+1, err))
		case out[d.Name].Raw != nil:
			left = append(left, fmt.Sprintf("number %d: %q is there already", i+1, d.Name))
		default:
			out[d.Name] = d
		}
	}
	return out, left
}

// recordServer keeps in the server what nodes need to know of it.
func (d *draft) recordServer(ctx context.Context, s *Server, found Discovery, tools int) error {
	next := *s
	next.Status = &resource.ServerStatus{ProtocolVersion: clipped(found.ProtocolVersion, 32), ServerInfo: serverInfo(found.ServerInfo), Tools: uint32(tools)}
	return d.putRecord(ctx, &next, s.UID, "")
}

// serverInfo is "<name>/<version>" of what a server told about itself.
func serverInfo(raw []byte) string {
	var info struct{ Name, Version string }
	if json.Unmarshal(raw, &info) != nil { // it is only for people to read
		return ""
	}
	if info.Version != "" {
		info.Name += "/" + info.Version
	}
	return clipped(info.Name, 512)
}

func (d *draft) recordTools(ctx context.Context, s *Server, tools map[string]definition.Definition, out *DiscoveryOutcome) error {
	recs, err := d.r.ListPrefix(ctx, KindTool, s.Name+"/")
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(recs))
	for _, rec := range recs {
		o, err := d.object(rec)
		if err != nil {
			return err
		}
		old := *o.(*Tool) //nolint:forcetypeassert,errcheck // the kind decides the type
		known[old.UpstreamName] = true
		def, there := tools[old.UpstreamName]
		next := old
		switch {
		case !there:
			next.State, next.PendingBodyHash, next.Held = resource.ToolRemoved, "", false
			if old.State != resource.ToolRemoved {
				out.Removed = append(out.Removed, old.Name)
			}
		case def.Hash == old.DefinitionHash:
			next.State, next.PendingBodyHash, next.Held = resource.ToolActive, "", false
		default:
			if err := d.change(ctx, s, &next, def); err != nil {
				return err
			}
			out.Changed = append(out.Changed, old.Name)
		}
		if err := d.putRecord(ctx, &next, rec.UID, ""); err != nil {
			return err
		}
	}
	for name, def := range tools {
		if known[name] {
			continue
		}
		t := &Tool{Meta: Meta{Name: s.Name + "/" + name}, Server: s.Name, UpstreamName: name}
		if err := d.accept(ctx, t, def); err != nil {
			return err
		}
		if err := d.putRecord(ctx, t, uuid.NewString(), ""); err != nil {
			return err
		}
		out.Added = append(out.Added, t.Name)
	}
	slices.Sort(out.Added)
	return nil
}

// change treats a definition that differs from the accepted one as the server's tool_changes says.
func (d *draft) change(ctx context.Context, s *Server, t *Tool, def definition.Definition) error {
	if s.ToolChanges == resource.ToolChangesAccept {
		return d.accept(ctx, t, def)
	}
	hash, err := d.tx.PutBlob(ctx, def.Raw)
	if err != nil {
		return err
	}
	t.State, t.PendingBodyHash, t.Held = resource.ToolChanged, hex.EncodeToString(hash[:]), s.ToolChanges == resource.ToolChangesHold
	return nil
}

// accept makes a definition the accepted one.
func (d *draft) accept(ctx context.Context, t *Tool, def definition.Definition) error {
	hash, err := d.tx.PutBlob(ctx, def.Raw)
	if err != nil {
		return err
	}
	t.State, t.PendingBodyHash, t.Held = resource.ToolActive, "", false
	t.DefinitionHash, t.BodyHash, t.Retryable = def.Hash, hex.EncodeToString(hash[:]), def.Retryable
	return nil
}

// holdTools applies a server's new tool_changes to the changes that wait.
func (d *draft) holdTools(ctx context.Context, s *Server) error {
	recs, err := d.r.ListPrefix(ctx, KindTool, s.Name+"/")
	if err != nil {
		return err
	}
	for _, rec := range recs {
		o, err := d.object(rec)
		if err != nil {
			return err
		}
		t := *o.(*Tool) //nolint:forcetypeassert,errcheck // the kind decides the type
		if t.State != resource.ToolChanged {
			continue
		}
		t.Held = s.ToolChanges == resource.ToolChangesHold
		if err := d.putRecord(ctx, &t, rec.UID, ""); err != nil {
			return err
		}
	}
	return nil
}

// RecordDiscoveryFailure keeps why a server could not be discovered. It makes no revision.
func (c *Catalog) RecordDiscoveryFailure(ctx context.Context, server, reason, detail string) error {
	facts, err := c.facts(ctx, noteDiscovery)
	if err != nil {
		return err
	}
	f := facts[server] // the time of the last success stays
	f.Reason, f.Detail = clipped(reason, 128), clipped(strings.ToValidUTF8(detail, "\uFFFD"), 1800)
	return c.note(ctx, noteDiscovery, server, f)
}

// AcceptTool makes the definition that waits the accepted one. PendingHash is the one that was reviewed, in hexadecimal:
// if another waits by now, the fault is Conflict.
func (c *Catalog) AcceptTool(ctx context.Context, caller Caller, name, pendingHash string, opt WriteOptions) (Written, error) {
	var out Object
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if err := d.acceptPending(ctx, name, pendingHash); err != nil {
			return err
		}
		out, err = d.full(ctx, KindTool, name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

func (d *draft) acceptPending(ctx context.Context, name, pendingHash string) error {
	o, err := d.visible(ctx, KindTool, name)
	if err != nil {
		return err
	}
	t := o.(*Tool) //nolint:forcetypeassert,errcheck // the kind decides the type
	who, err := d.who(ctx)
	if err != nil {
		return err
	}
	server, err := find[*Server](ctx, d.desk, KindServer, t.Server)
	if err != nil {
		return err
	}
	if server == nil {
		return notFound(KindServer, t.Server)
	}
	if err := who.Manages(server); err != nil {
		return err
	}
	switch t.PendingBodyHash {
	case "":
		return fault.Newf(fault.Precondition, ReasonNothingPending, "No changed definition of the tool %q waits to be accepted.", name)
	case strings.ToLower(pendingHash):
	default:
		return fault.Newf(fault.Conflict, ReasonPendingChanged, "Another definition of the tool %q waits than the one you reviewed; read the tool again.", name)
	}
	hash, err := parseHash(t.PendingBodyHash)
	if err != nil {
		return err
	}
	raw, err := d.r.Blob(ctx, hash)
	if err != nil {
		return err
	}
	if Hash(sha256.Sum256(raw)) != hash {
		return fmt.Errorf("the pending definition of tool %s is not stored", name)
	}
	def, err := definition.Parse(raw)
	if err != nil {
		return fmt.Errorf("read pending definition of tool %s: %w", name, err)
	}
	if err := d.accept(ctx, t, def); err != nil {
		return err
	}
	return d.putRecord(ctx, t, t.UID, "")
}
