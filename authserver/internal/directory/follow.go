// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// Kinds of resources on the node stream that the authserver reads.
const (
	kindUser     = "user"
	kindTeam     = "team"
	kindMember   = "team_member" // in denials: "<team>/<user>"
	kindGateway  = "gateway"
	kindProvider = "identity_provider"
	kindClient   = "oauth_client"

	kindConnection = "connection"
	kindAssignment = "assignment" // that pins a connection
	kindServer     = "server"     // that people connect themselves
)

// Follower makes views out of the states of the node stream. It implements [node.Applier].
type Follower struct {
	origin string // of the gateways
	view   atomic.Pointer[View]

	mu      sync.Mutex // guards what follows: Deny may run beside Apply
	state   *View      // what the last state says, without the denials
	denied  map[node.Key]uint64
	applied uint64 // revision of state
	epoch   string
	changed chan struct{} // closed by the next Apply
	left    []Left        // for TakeLeft
}

// NewFollower returns a follower. gateways is the origin under which clients reach the gateways, for example
// "https://gw.example.com".
func NewFollower(gateways string) *Follower {
	return &Follower{origin: canonical(gateways), denied: make(map[node.Key]uint64), changed: make(chan struct{})}
}

// View returns the newest view, nil before the first state has arrived.
func (f *Follower) View() *View { return f.view.Load() }

// State returns what the last state says without the denials, nil before the first one: somebody who is denied is still
// there.
func (f *Follower) State() *View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Changed returns a channel that is closed when the next state has arrived. Take it before looking at View.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Await returns when View has a revision of the lineage that is followed, or the error of ctx when that ends before.
func (f *Follower) Await(ctx context.Context, revision uint64) error {
	for {
		f.mu.Lock()
		there, changed := f.state != nil && f.applied >= revision, f.changed
		f.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await revision %d of the directory: %w", revision, ctx.Err())
		}
	}
}

// Apply implements [node.Applier]. A resource that cannot be read keeps its previous form.
func (f *Follower) Apply(_ context.Context, s node.State, touched []node.Key, _ bool) []node.Reject {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := NewView(Content{Origin: f.origin})
	people := touched == nil || slices.ContainsFunc(touched, func(k node.Key) bool { return k.Kind == kindUser })
	if touched != nil && f.state != nil {
		next = f.state.clone(touched)
	} else {
		touched = nil
		for _, kind := range []string{kindUser, kindTeam, kindGateway, kindProvider, kindClient, kindConnection, kindAssignment, kindServer} {
			s.Names(kind, func(name string) bool {
				touched = append(touched, node.Key{Kind: kind, Name: name})
				return true
			})
		}
	}
	var rejects []node.Reject
	for _, k := range touched {
		r := s.Get(k.Kind, k.Name)
		if err := next.put(k, r, f.state); err != nil {
			refused := fault.From(err)
			rejects = append(rejects, node.Reject{Key: k, Version: r.GetVersion(), Reason: refused.Reason, Detail: refused.Public})
		}
	}
	if people {
		f.left = append(f.left, next.ended(f.state)...)
		if s.Epoch() == f.epoch && f.state != nil {
			f.left = append(f.left, f.state.leavers(next)...)
		}
	}
	if s.Epoch() != f.epoch {
		clear(f.denied) // another lineage: its revisions cannot be compared
	}
	f.epoch, f.applied, f.state = s.Epoch(), s.Revision(), next
	maps.DeleteFunc(f.denied, func(_ node.Key, revision uint64) bool { return revision <= f.applied })
	f.publish()
	close(f.changed)
	f.changed = make(chan struct{})
	return rejects
}

// Left is a user (uid) whose time is over, or was: whoever is deactivated and activated again has left all the same.
type Left struct {
	User string
	At   time.Time // EndTime of the user; zero: the directory does not say
}

// TakeLeft returns who has left, since it was called before: everybody whom the directory says an EndTime of that is news, as the
// first state's all are, and those who were active and are gone. Of the latter the states of one lineage count: another one may be
// that of an old backup.
func (f *Follower) TakeLeft() []Left {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.left
	f.left = nil
	return left
}

// ended returns the users with an EndTime that the view before does not say. A view shares the users that did not change with the
// one before, so that most are passed over at a glance.
func (v *View) ended(before *View) (left []Left) {
	for uid, u := range v.users {
		if u.EndTime.IsZero() {
			continue
		}
		if before != nil {
			if was := before.users[uid]; was == u || was != nil && !u.EndTime.After(was.EndTime) {
				continue
			}
		}
		left = append(left, Left{uid, u.EndTime})
	}
	return left
}

// leavers returns the users who are active here and are not in the next view, but for those whose EndTime tells it.
func (v *View) leavers(next *View) (left []Left) {
	for uid, u := range v.users {
		if now := next.users[uid]; now != u && !u.Deactivated && (now == nil || now.Deactivated && now.EndTime.IsZero()) {
			left = append(left, Left{User: uid})
		}
	}
	return left
}

// Deny implements [node.Applier]: what the keys name is gone from the view until a state says how it is (D-30).
func (f *Follower) Deny(_ context.Context, revision uint64, keys []node.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		if revision > f.applied {
			f.denied[k] = max(f.denied[k], revision)
		}
	}
	f.publish()
}

// publish swaps the view in: the state without what is denied.
func (f *Follower) publish() {
	if f.state == nil {
		return
	}
	v := f.state
	if len(f.denied) > 0 {
		keys := make([]node.Key, 0, len(f.denied))
		for k := range f.denied {
			keys = append(keys, k)
		}
		v = f.state.clone(keys)
		for _, k := range keys {
			v.deny(k)
		}
	}
	f.view.Store(v)
}

// clone returns a view with maps of its own for the kinds of the keys.
func (v *View) clone(keys []node.Key) *View {
	c := *v
	done := make(map[string]bool)
	for _, k := range keys {
		if done[k.Kind] {
			continue
		}
		done[k.Kind] = true
		switch k.Kind {
		case kindUser:
			c.users, c.names, c.identities = maps.Clone(v.users), maps.Clone(v.names), maps.Clone(v.identities)
		case kindTeam, kindMember:
			c.teams = maps.Clone(v.teams)
		case kindGateway:
			c.gateways, c.slugs = maps.Clone(v.gateways), maps.Clone(v.slugs)
			c.features = maps.Clone(v.features)
		case kindProvider:
			c.providers = maps.Clone(v.providers)
		case kindClient:
			c.clients = maps.Clone(v.clients)
		case kindConnection:
			c.connections, c.installed = maps.Clone(v.connections), maps.Clone(v.installed)
		case kindAssignment:
			c.pins = maps.Clone(v.pins)
		case kindServer:
			c.servers = maps.Clone(v.servers)
		}
	}
	if done[kindGateway] || done[kindAssignment] {
		c.uses = maps.Clone(v.uses)
	}
	return &c
}

// deny takes what a key names away.
func (v *View) deny(k node.Key) {
	switch k.Kind {
	case kindUser:
		v.dropUser(k.Name)
	case kindTeam:
		delete(v.teams, k.Name)
	case kindMember:
		team, user, _ := strings.Cut(k.Name, "/")
		if t := v.teams[team]; t != nil {
			left := &compile.Team{Name: t.Name, UID: t.UID, Members: maps.Clone(t.Members)}
			delete(left.Members, user)
			v.teams[team] = left
		}
	case kindGateway:
		v.dropGateway(k.Name)
	case kindProvider:
		delete(v.providers, k.Name)
	case kindClient:
		delete(v.clients, k.Name)
	case kindConnection:
		v.putConnection(k.Name, nil)
	case kindAssignment:
		v.putPin(k.Name, nil)
	case kindServer:
		delete(v.servers, k.Name)
	}
}

func (v *View) dropUser(name string) {
	u := v.names[name]
	if u == nil {
		return
	}
	delete(v.names, name)
	delete(v.users, u.UID)
	for _, i := range u.Identities {
		if v.identities[i] == u {
			delete(v.identities, i)
		}
	}
}

func (v *View) dropGateway(name string) {
	if g := v.slugs[name]; g != nil {
		delete(v.slugs, name)
		delete(v.gateways, g.UID)
	}
}
