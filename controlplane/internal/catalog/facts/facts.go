// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
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
	Failed time.Time `json:"failed,omitzero"`  // of a discovery: its last failure; Time is its last success
	Reason string    `json:"reason,omitempty"` // empty: it went well
	Detail string    `json:"detail,omitempty"`
}

// Keeper keeps facts in a store. Its methods may be called at the same time.
type Keeper struct {
	store record.Store
	now   func() time.Time

	mu   sync.Mutex
	used map[string]time.Time // last noted use of admin-API tokens, to the minute
}

// New returns a keeper.
func New(store record.Store, now func() time.Time) *Keeper {
	return &Keeper{store: store, now: now, used: make(map[string]time.Time)}
}

// TokenUse is the last use of a bearer token.
type TokenUse struct {
	Token string // name
	Time  time.Time
}

// ConnectionCheck is the outcome of the last call over a connection.
type ConnectionCheck struct {
	Connection string // name
	Time       time.Time
	Reason     string // empty after a success, else for example "UPSTREAM_UNREACHABLE"
}

func (k *Keeper) note(ctx context.Context, kind, name string, f fact) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode note: %w", err)
	}
	return k.store.Note(ctx, kind, name, b)
}

// facts returns the notes of a kind by name. One that cannot be read is as good as none.
func (k *Keeper) facts(ctx context.Context, kind string) (map[string]fact, error) {
	notes, err := k.store.Notes(ctx, kind)
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
func (k *Keeper) RecordStatus(ctx context.Context, uses []TokenUse, checks []ConnectionCheck) error {
	known, err := k.facts(ctx, noteTokenUse)
	if err != nil {
		return err
	}
	for _, u := range uses {
		at := u.Time.UTC().Truncate(time.Minute)
		if !at.After(known[u.Token].Time) { // another node saw a later use
			continue
		}
		if err := k.note(ctx, noteTokenUse, u.Token, fact{Time: at}); err != nil {
			return err
		}
	}
	for _, c := range checks {
		if err := k.note(ctx, noteConnection, c.Connection, fact{Time: c.Time.UTC(), Reason: resource.Clip(c.Reason, 128)}); err != nil {
			return err
		}
	}
	return nil
}

// maxUsed bounds the memory of which uses of admin tokens were noted.
const maxUsed = 10_000

// NoteUse notes the use of an admin-API token, at most once a minute.
func (k *Keeper) NoteUse(ctx context.Context, token string) error {
	now := k.now().UTC().Truncate(time.Minute)
	k.mu.Lock()
	known := k.used[token].Equal(now)
	if !known {
		if len(k.used) >= maxUsed {
			clear(k.used) // they are noted again, which does no harm
		}
		k.used[token] = now
	}
	k.mu.Unlock()
	if known {
		return nil
	}
	return k.note(ctx, noteTokenUse, token, fact{Time: now})
}

// Annotate fills in what notes know of resources of one kind. A note from before a resource was created is of an earlier
// one of that name.
func (k *Keeper) Annotate(ctx context.Context, kind resource.Kind, objects []resource.Object) error {
	var notes string
	switch kind {
	case resource.KindBearerToken:
		notes = noteTokenUse
	case resource.KindConnection:
		notes = noteConnection
	case resource.KindServer:
		notes = noteDiscovery
	default:
		return nil
	}
	facts, err := k.facts(ctx, notes)
	if err != nil {
		return err
	}
	servers := make(map[string]*resource.Server)
	if kind == resource.KindConnection {
		if servers, err = k.servers(ctx, objects); err != nil {
			return err
		}
	}
	for _, o := range objects {
		f := facts[o.Metadata().Name]
		if made := o.Metadata().CreateTime.Truncate(time.Minute); f.Time.Before(made) && f.Failed.Before(made) {
			f = fact{}
		}
		switch o := o.(type) {
		case *resource.BearerToken:
			o.LastUseTime = f.Time
		case *resource.Connection:
			o.Status = connectionStatus(o, servers[o.Server], f)
		case *resource.Server:
			f.annotate(o)
		}
	}
	return nil
}

// servers reads the servers of connections.
func (k *Keeper) servers(ctx context.Context, objects []resource.Object) (map[string]*resource.Server, error) {
	out := make(map[string]*resource.Server)
	return out, k.store.Read(ctx, func(_ record.Head, r record.Reader) error {
		d := desk.New(r, access.Caller{System: true})
		for _, o := range objects {
			conn, ok := o.(*resource.Connection)
			if !ok || out[conn.Server] != nil {
				continue
			}
			s, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, conn.Server)
			if err != nil {
				return err
			}
			out[conn.Server] = s
		}
		return nil
	})
}

func connectionStatus(c *resource.Connection, server *resource.Server, f fact) *resource.ConnectionStatus {
	s := &resource.ConnectionStatus{CheckTime: f.Time, LastError: f.Reason}
	switch {
	case server != nil && server.Lacks(c):
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
func (f fact) annotate(s *resource.Server) {
	if f.Time.IsZero() && f.Reason == "" {
		return
	}
	if s.Status == nil {
		s.Status = new(resource.ServerStatus)
	}
	s.Status.DiscoverTime = f.Time
	if f.Reason != "" {
		s.Status.LastError = resource.Clip(f.Reason+": "+f.Detail, 2048)
	}
}

// Discovered keeps when a server was discovered and which definitions could not be used.
func (k *Keeper) Discovered(ctx context.Context, server string, left []string) error {
	f := fact{Time: k.now().UTC()}
	if len(left) > 0 {
		f.Reason, f.Detail = "TOOLS_LEFT_OUT", fmt.Sprintf("%d definitions cannot be used: %s", len(left), resource.Listed(left))
	}
	return k.note(ctx, noteDiscovery, server, f)
}

// DiscoveryFailed keeps why a server could not be discovered; the time of the last success stays.
func (k *Keeper) DiscoveryFailed(ctx context.Context, server, reason, detail string) error {
	facts, err := k.facts(ctx, noteDiscovery)
	if err != nil {
		return err
	}
	f := facts[server]
	f.Failed, f.Reason, f.Detail = k.now().UTC(), resource.Clip(reason, 128), resource.Clip(strings.ToValidUTF8(detail, "\uFFFD"), 1800)
	return k.note(ctx, noteDiscovery, server, f)
}
