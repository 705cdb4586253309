// SPDX-License-Identifier: Apache-2.0

// Package feedtest writes small configurations into a store, for tests of what follows its log.
//
// Each [Op] is one operation of a transaction; [Write] commits several as one change. It must never be imported outside
// tests.
package feedtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
)

// TB is what the helpers need of a test: *testing.T has it, and *rapid.T, whose clean-ups run after each try.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
	Context() context.Context
	Cleanup(fn func())
}

// Op is one operation of a transaction.
type Op func(context.Context, catalog.Tx) error

// Write commits the operations as one change and returns its revision.
func Write(tb TB, s catalog.Store, ops ...Op) catalog.Revision {
	tb.Helper()
	rev, _, err := s.Write(tb.Context(), "test", func(tx catalog.Tx) error { return Do(tb.Context(), tx, ops...) })
	if err != nil {
		tb.Fatalf("write: %v", err)
	}
	return rev
}

// Do takes the operations in a transaction.
func Do(ctx context.Context, tx catalog.Tx, ops ...Op) error {
	for _, op := range ops {
		if err := op(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// Log returns a logger that drops everything.
func Log() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Start runs a feed on a store until the test ends, and waits until it is ready.
func Start(tb TB, s catalog.Store) *feed.Feed {
	tb.Helper()
	f := feed.New(feed.Config{Store: s, Log: Log()})
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Errorf("feed: %v", err)
		}
	})
	Await(tb, f, func() bool { return f.Ready() })
	return f
}

// AwaitHead waits until the feed has a revision.
func AwaitHead(tb TB, f *feed.Feed, rev catalog.Revision) {
	tb.Helper()
	Await(tb, f, func() bool { return f.Head().Revision >= rev })
}

// Await waits until a condition on the feed holds.
func Await(tb TB, f *feed.Feed, holds func() bool) {
	tb.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for {
		changed := f.Changed()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			tb.Fatalf("the feed is at revision %d and the condition does not hold", f.Head().Revision)
		}
	}
}

// Put stores a record with a JSON body made of v.
func Put(kind catalog.Kind, name string, v any, change func(*catalog.Record)) Op {
	return func(ctx context.Context, tx catalog.Tx) error {
		body, err := json.Marshal(v)
		if err != nil {
			return err
		}
		r := &catalog.Record{Key: catalog.Key{Kind: kind, Name: name}, UID: "uid-" + name, Body: body}
		if change != nil {
			change(r)
		}
		return tx.Put(ctx, r)
	}
}

type fields = map[string]any

// Server stores a server; the description tells versions apart.
func Server(name, description string) Op {
	return Put(catalog.KindServer, name, fields{
		"description": description, "streamable_http": fields{"url": "https://" + name + ".example.com/mcp"},
	}, nil)
}

// Connection stores a connection of a server.
func Connection(name, server string) Op {
	return Put(catalog.KindConnection, name, fields{"server": server, "owner": fields{"organization": fields{}}}, nil)
}

// Tool stores a tool "<server>/<name>" with a body as its definition.
func Tool(server, name, body string) Op {
	return func(ctx context.Context, tx catalog.Tx) error {
		hash, err := tx.PutBlob(ctx, []byte(body))
		if err != nil {
			return err
		}
		v := fields{"server": server, "upstream_name": name, "state": "TOOL_STATE_ACTIVE", "body_hash": hex.EncodeToString(hash[:])}
		return Put(catalog.KindTool, server+"/"+name, v, func(r *catalog.Record) { r.Blobs = []catalog.Hash{hash} })(ctx, tx)
	}
}

// Gateway stores a gateway; the description tells versions apart.
func Gateway(name, description string, regions ...string) Op {
	return Put(catalog.KindGateway, name, fields{
		"description": description, "regions": regions, "visibility": fields{"organization": fields{}},
	}, nil)
}

// AtCall stands for a connection that is chosen at the call.
const AtCall = "*"

// Assign puts a tool on a gateway, pinned to a connection, or with one that is chosen at the call.
func Assign(gateway, tool, connection string) Op {
	body := fields{"tool": tool}
	switch connection {
	case "":
	case AtCall:
		body["resolve_at_call_time"] = fields{}
	default:
		body["pinned"] = fields{"connection": connection}
	}
	return Put(catalog.KindAssignment, gateway+"/"+tool, body, nil)
}

// Team stores a team.
func Team(name string, users ...string) Op {
	members := []fields{}
	for _, u := range users {
		members = append(members, fields{"user": u})
	}
	return Put(catalog.KindTeam, name, fields{"members": members}, nil)
}

// User stores a user; the display name tells versions apart.
func User(name, display string) Op {
	return Put(catalog.KindUser, name, fields{"display_name": display, "role": "ROLE_MEMBER"}, nil)
}

// Provider stores an identity provider; the display name tells versions apart.
func Provider(name, display string) Op {
	return Put(resource.KindIdentityProvider, name, fields{
		"display_name": display, "issuer": "https://" + name + ".example.com", "client_id": "penstock",
	}, nil)
}

// Client stores an OAuth client; the display name tells versions apart.
func Client(name, display string) Op {
	return Put(resource.KindOAuthClient, name, fields{
		"display_name": display, "redirect_uris": []string{"https://" + name + ".example.com/callback"},
	}, nil)
}

// Policy stores a policy that blocks; the reason tells versions apart.
func Policy(name, reason string) Op {
	return Put(catalog.KindPolicy, name, fields{"action": "POLICY_ACTION_BLOCK", "reason": reason}, nil)
}

// ResultPolicy stores a result policy that blocks; the reason tells versions apart.
func ResultPolicy(name, reason string) Op {
	return Put(catalog.KindResultPolicy, name, fields{"mark": "RESULT_MARK_BLOCK", "reason": reason}, nil)
}

// Token stores a bearer token, of the admin API or of a gateway.
func Token(name string, admin bool) Op {
	sum := sha256.Sum256([]byte(name))
	v := fields{"owner": fields{"organization": fields{}}, "admin_api": admin, "expire_time": "2030-01-01T00:00:00Z"}
	return Put(catalog.KindBearerToken, name, v, func(r *catalog.Record) { r.Lookup = hex.EncodeToString(sum[:]) })
}

// Delete deletes a record.
func Delete(kind catalog.Kind, name string) Op {
	return func(ctx context.Context, tx catalog.Tx) error {
		return tx.Delete(ctx, catalog.Key{Kind: kind, Name: name})
	}
}

// Deny adds a denial to the change.
func Deny(kind catalog.Kind, name string) Op {
	return func(_ context.Context, tx catalog.Tx) error {
		tx.Deny(catalog.Key{Kind: kind, Name: name})
		return nil
	}
}

// Atomic marks the change atomic.
func Atomic() Op {
	return func(_ context.Context, tx catalog.Tx) error {
		tx.SetAtomic()
		return nil
	}
}

// Shop is a small configuration: server "shop" with tools "shop/buy" and "shop/sell", connection "shop-main", gateway
// "demo" with "shop/buy" on it, team "eng" with one user, and a token.
func Shop() []Op {
	return []Op{
		Server("shop", "1"), Connection("shop-main", "shop"), Tool("shop", "buy", `{"name":"buy"}`),
		Tool("shop", "sell", `{"name":"sell"}`), Gateway("demo", "1"), Assign("demo", "shop/buy", "shop-main"),
		User("ada@example.com", "Ada"), Team("eng", "ada@example.com"), Token("t1", false),
	}
}

// Tools returns operations that put n tools, each with a body of its own, on a gateway of their own server.
func Tools(gateway string, n int) []Op {
	ops := []Op{Server(gateway+"-server", "1"), Connection(gateway+"-conn", gateway+"-server"), Gateway(gateway, "1")}
	for i := range n {
		name := fmt.Sprintf("tool-%d", i)
		ops = append(ops, Tool(gateway+"-server", name, fmt.Sprintf(`{"name":%q,"description":"tool %d of %s"}`, name, i, gateway)),
			Assign(gateway, gateway+"-server/"+name, gateway+"-conn"))
	}
	return ops
}
