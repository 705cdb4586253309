// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	pathPrefix = "/connect/"

	idBytes = 16 // EL-5: 128 bits
	idText  = 22 // base64url of it

	life     = 10 * time.Minute // EL-5
	mostOpen = 5                // EL-11

	// scopeKind is of tickets that lie beside a link, with the scopes that it asks for besides.
	scopeKind = "upstream-scope"

	actionCreated  = "elicitation.created"
	actionMismatch = "elicitation.user_mismatch"
	actionDone     = "elicitation.completed"

	resultOK      = "ok"
	resultRefused = "refused"
	actorUser     = "user"
)

// Request says who is to connect what.
type Request struct {
	User    string         // uid of the person
	Server  string         // name
	Client  string         // client_id of the MCP client that the call came from; empty: none
	Gateway string         // name of the gateway that the call came to; empty: the person asked for the link, without a call
	Asker   ident.Workload // node, or control plane, that asks
	Scope   string         // scopes that the server wants besides those that it wants of everybody, with a space between; empty: none

	Connection, Version string // uid and reference of the credential that was refused for its scope; empty without Scope
}

// Create makes a link and returns its URL, "<issuer>/connect/<22 characters>", and its end, ten minutes later (EL-4, EL-5).
// Whether the workload may ask is the caller's to say. The faults are Exhausted TOO_MANY_CONNECT_LINKS, NotFound SERVER_UNKNOWN,
// Precondition SERVER_NOT_CONNECTABLE, and Unavailable.
func (h *Handler) Create(ctx context.Context, r Request) (url string, expires time.Time, err error) {
	view := h.c.View()
	if view == nil {
		return "", time.Time{}, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(time.Second)
	}
	if strings.ContainsRune(r.Client, 0) {
		return "", time.Time{}, fault.New(fault.Invalid, ReasonRequest, "The client_id has a NUL.")
	}
	if strings.ContainsFunc(r.Scope, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return "", time.Time{}, fault.New(fault.Invalid, ReasonRequest, "The scope is none (RFC 6749 §3.3).")
	}
	switch server := view.Server(r.Server); {
	case server == nil:
		return "", time.Time{}, fault.Newf(fault.NotFound, directory.ReasonServerUnknown,
			"There is no server %q that people connect themselves.", r.Server)
	case !server.Connectable():
		return "", time.Time{}, notConnectable(r.Server)
	}
	scope := r.Scope
	if c, who := view.Connection(r.Connection), view.User(r.User); scope != "" && c != nil && who != nil && c.Server == r.Server && c.Owner == who.Name {
		scope = strings.Join(append(h.c.Upstream.Asked(ctx, r.Connection, r.Version), scope), " ")
	}
	id, hash := mint()
	now := h.now()
	l := store.ConnectLink{
		Hash: hash, User: r.User, Server: r.Server, Client: r.Client, Gateway: r.Gateway, CreateTime: now, ExpireTime: now.Add(life),
	}
	e := store.Event{
		Time: now, ActorType: string(r.Asker.Role), Actor: r.Asker.URI(), Client: r.Client, Action: actionCreated, Target: target(l), Result: resultOK,
	}
	err = h.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		made, err := tx.CreateConnectLink(ctx, l, mostOpen)
		switch {
		case err != nil:
			return err
		case !made:
			return fault.Newf(fault.Exhausted, ReasonTooMany,
				"The person has %d open links for the server %q: one of them can be used, or wait until they are over.", mostOpen, r.Server).After(time.Minute)
		}
		if r.Scope != "" {
			t := store.Ticket{Kind: scopeKind, Hash: hash, Data: []byte(scope), ExpireTime: l.ExpireTime}
			if err := tx.PutTicket(ctx, t); err != nil {
				return err
			}
		}
		return tx.Record(ctx, e)
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("create a connect link: %w", err)
	}
	return strings.TrimSuffix(h.c.Issuer, "/") + pathPrefix + id, l.ExpireTime, nil
}

func notConnectable(server string) *fault.Fault {
	return fault.Newf(fault.Precondition, ReasonNotConnectable,
		"The server %q takes no credential that people give themselves: give it credential: {static_headers: {}}, {oauth: {}}, {token_exchange: …} or {caller_idp_token: …}.", server)
}

// IsLink reports whether a text has the form of a link's identifier.
func IsLink(text string) bool {
	_, ok := hashOf(text)
	return ok
}

// Onward returns the path of a link's page, below the issuer's.
func Onward(id string) string { return pathPrefix + id }

// Describe returns what a link is about, for the login page. NotFound CONNECT_LINK_OVER: it is of no use any more.
func (h *Handler) Describe(ctx context.Context, id string) (pages.Destination, error) {
	l, err := h.find(ctx, id)
	if err != nil {
		return pages.Destination{}, err
	}
	view := h.c.View()
	if view == nil {
		return pages.Destination{}, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.")
	}
	server := view.Server(l.Server)
	if server == nil {
		return pages.Destination{}, over()
	}
	return pages.Destination{Server: server.Title()}, nil
}

// find returns a link that can be used.
func (h *Handler) find(ctx context.Context, id string) (store.ConnectLink, error) {
	hash, ok := hashOf(id)
	if !ok {
		return store.ConnectLink{}, over()
	}
	l, err := h.c.Store.ConnectLink(ctx, hash)
	switch {
	case err != nil && fault.From(err).Reason == store.ReasonRowMissing:
		return l, over().Because(err)
	case err != nil:
		return l, fmt.Errorf("read a connect link: %w", err)
	case !l.UseTime.IsZero() || !h.now().Before(l.ExpireTime):
		return l, over()
	}
	return l, nil
}

func over() *fault.Fault { return fault.New(fault.NotFound, ReasonOver, "The link is over.") }

// event returns an audit event of a browser about a link.
func event(ctx context.Context, l store.ConnectLink, action, result, user string) store.Event {
	e := reqctx.Event(ctx, action, result)
	e.ActorType, e.Actor, e.Client, e.Target = actorUser, user, l.Client, target(l)
	return e
}

// target names whose credential for what a link is about.
func target(l store.ConnectLink) string { return l.User + "/" + l.Server }

func mint() (id string, hash store.Hash) {
	b := make([]byte, idBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the process instead
	id = base64.RawURLEncoding.EncodeToString(b)
	return id, sha256.Sum256([]byte(id))
}

// hashOf returns what is stored of an identifier; ok is false for what is none.
func hashOf(id string) (hash store.Hash, ok bool) {
	if len(id) != idText {
		return hash, false
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(id); err != nil || len(b) != idBytes {
		return hash, false
	}
	return sha256.Sum256([]byte(id)), true
}
