// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Kinds of notes: facts that change often and never enter the revision log (D-5).
const (
	noteTokenUse   = "token_use"
	noteConnection = "connection_check"
	noteDiscovery  = "discovery"
)

// fact is the body of such a note.
type fact struct {
	Time   time.Time `json:"time,omitzero"`
	Reason string    `json:"reason,omitempty"` // empty: it went well
	Detail string    `json:"detail,omitempty"`
}

func (c *Catalog) note(ctx context.Context, kind, name string, f fact) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode note: %w", err)
	}
	return c.cfg.Store.Note(ctx, kind, name, b)
}

// facts returns the notes of a kind by name. One that cannot be read is as good as none.
func (c *Catalog) facts(ctx context.Context, kind string) (map[string]fact, error) {
	notes, err := c.cfg.Store.Notes(ctx, kind)
	if err != nil {
		return nil, err
	}
	out := make(map[string]fact, len(notes))
	for name, body := range notes {
		var f fact
		if json.Unmarshal(body, &f) == nil {
			out[name] = f
		}
	}
	return out, nil
}

// RecordStatus takes what nodes noticed: the last uses of bearer tokens and the outcomes of calls over connections.
func (c *Catalog) RecordStatus(ctx context.Context, uses []TokenUse, checks []ConnectionCheck) error {
	known, err := c.facts(ctx, noteTokenUse)
	if err != nil {
		return err
	}
	for _, u := range uses {
		at := u.Time.UTC().Truncate(time.Minute)
		if !at.After(known[u.Token].Time) { // another node saw a later use
			continue
		}
		if err := c.note(ctx, noteTokenUse, u.Token, fact{Time: at}); err != nil {
			return err
		}
	}
	for _, k := range checks {
		if err := c.note(ctx, noteConnection, k.Connection, fact{Time: k.Time.UTC(), Reason: clipped(k.Reason, 128)}); err != nil {
			return err
		}
	}
	return nil
}

// maxUsed bounds the memory of which uses of admin tokens were noted.
const maxUsed = 10_000

// noteUse notes the use of an admin-API token, at most once a minute.
func (c *Catalog) noteUse(ctx context.Context, token string) error {
	now := c.cfg.Now().UTC().Truncate(time.Minute)
	c.mu.Lock()
	known := c.used[token].Equal(now)
	if !known {
		if len(c.used) >= maxUsed {
			clear(c.used) // they are noted again, which does no harm
		}
		c.used[token] = now
	}
	c.mu.Unlock()
	if known {
		return nil
	}
	return c.note(ctx, noteTokenUse, token, fact{Time: now})
}

// annotate fills in what notes know of resources of one kind. A note from before a resource was created is of an earlier
// one of that name.
func (c *Catalog) annotate(ctx context.Context, kind Kind, objects []Object) error {
	var notes string
	switch kind {
	case KindBearerToken:
		notes = noteTokenUse
	case KindConnection:
		notes = noteConnection
	case KindServer:
		notes = noteDiscovery
	default:
		return nil
	}
	facts, err := c.facts(ctx, notes)
	if err != nil {
		return err
	}
	servers := make(map[string]*Server)
	if kind == KindConnection {
		if servers, err = c.servers(ctx, objects); err != nil {
			return err
		}
	}
	for _, o := range objects {
		f := facts[o.Metadata().Name]
		if f.Time.Before(o.Metadata().CreateTime.Truncate(time.Minute)) {
			f = fact{}
		}
		switch o := o.(type) {
		case *BearerToken:
			o.LastUseTime = f.Time
		case *Connection:
			o.Status = connectionStatus(o, servers[o.Server], f)
		case *Server:
			f.annotate(o)
		}
	}
	return nil
}

// servers reads the servers of connections.
func (c *Catalog) servers(ctx context.Context, objects []Object) (map[string]*Server, error) {
	out := make(map[string]*Server)
	return out, c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		d := c.desk(r, Caller{System: true})
		for _, o := range objects {
			conn, ok := o.(*Connection)
			if !ok || out[conn.Server] != nil {
				continue
			}
			s, err := find[*Server](ctx, d, KindServer, conn.Server)
			if err != nil {
				return err
			}
			out[conn.Server] = s
		}
		return nil
	})
}

func connectionStatus(c *Connection, server *Server, f fact) *resource.ConnectionStatus {
	s := &resource.ConnectionStatus{CheckTime: f.Time, LastError: f.Reason}
	switch {
	case server != nil && needsSecret(server) && c.CredentialVersion == "":
		s.State = resource.ConnectionNeedsAuth
	case f.Time.IsZero():
		return nil // not checked yet
	case f.Reason != "":
		s.State = resource.ConnectionUnreachable
	default:
		s.State = resource.ConnectionReady
	}
	return s
}

// annotate fills in when a server was discovered last, or why it could not be.
func (f fact) annotate(s *Server) {
	if f.Time.IsZero() && f.Reason == "" {
		return
	}
	if s.Status == nil {
		s.Status = new(resource.ServerStatus)
	}
	s.Status.DiscoverTime = f.Time
	if f.Reason != "" {
		s.Status.LastError = clipped(f.Reason+": "+f.Detail, 2048)
	}
}
