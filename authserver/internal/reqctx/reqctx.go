// SPDX-License-Identifier: Apache-2.0

package reqctx

import (
	"context"
	"net/netip"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Info is what is known of a request. The zero value is a request that nobody made, such as a task's.
type Info struct {
	ID        string     // for example "3f9c1a0b7e42"
	IP        netip.Addr // of the client: behind trusted proxies the address they saw
	UserAgent string     // as sent, at most 256 printable characters
}

type key struct{}

// With returns a context that carries the info.
func With(ctx context.Context, i Info) context.Context { return context.WithValue(ctx, key{}, i) }

// From returns the info of a context, the zero value if it has none.
func From(ctx context.Context) Info {
	i, _ := ctx.Value(key{}).(Info)
	return i
}

// Event returns an audit event of the request with its time unset, which the store then fills in. result is "ok" or
// "refused".
func Event(ctx context.Context, action, result string) store.Event {
	i := From(ctx)
	e := store.Event{Action: action, Result: result, UserAgent: i.UserAgent, RequestID: i.ID}
	if i.IP.IsValid() {
		e.IP = i.IP.String()
	}
	return e
}
