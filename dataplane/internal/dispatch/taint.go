// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Contexts knows which contexts are untrusted (taint room, G-33).
type Contexts interface {
	// Find says what context a call belongs to; sent is the raw member io.penstock/context of its _meta, nil if there is none. The fault
	// is Invalid: it is no handle of this caller's.
	Find(ctx context.Context, c *call.Caller, sent []byte) (*call.Context, error)
	// Trust says what is known of a context at this moment, on all nodes. It does not wait for long: what cannot be told is untrusted.
	Trust(ctx context.Context, x *call.Context) call.Trust
	// Doubt says why a caller without a session counts as untrusted now, whatever it has seen; empty if it does not. It asks nobody.
	Doubt() string
	// Used notes, without waiting, that a context is in use although nobody has to know what it is.
	Used(x *call.Context)
	// Mark makes a context untrusted because of a server, for all nodes, before it returns. The fault is Unavailable: they may not see it.
	Mark(ctx context.Context, x *call.Context, server string) error
	// Handle returns the handle of a context that has one, for the client.
	Handle(c *call.Caller, x *call.Context) string
}

// findContext notes the context that the client has named, or asks for a handle of. All others are found when somebody has to know.
func (d *Dispatcher) findContext(ctx context.Context, c *call.Caller, k *call.Call) (err error) {
	if sent := k.Message.Meta.Context.Of(k.Body); sent != nil && d.Contexts != nil {
		k.Context, err = d.Contexts.Find(ctx, c, sent)
	}
	return err //nolint:wrapcheck // a fault with the answer
}

func (d *Dispatcher) contextOf(ctx context.Context, c *call.Caller, k *call.Call) (*call.Context, error) {
	if k.Context != nil {
		return k.Context, nil
	}
	return d.Contexts.Find(ctx, c, nil) //nolint:wrapcheck // a fault with the answer
}

// trust says what policies may know of the context of a call. The store is asked only if one of them has to know it.
func (d *Dispatcher) trust(ctx context.Context, c *call.Caller, k *call.Call, asked bool) call.Trust {
	trust := call.Trust{Untrusted: c.Gateway.Contexts != compile.ContextsTrusted}
	if !asked {
		return trust
	}
	trust.Unknown = true
	if d.Contexts == nil {
		return trust
	}
	x, err := d.contextOf(ctx, c, k)
	if err != nil {
		return trust
	}
	known := d.Contexts.Trust(ctx, x)
	known.Untrusted = known.Untrusted || c.Gateway.Contexts == compile.ContextsUntrusted
	return known
}

// used notes that a context is in use, at a gateway of which a policy may have to know that. Calls whose own policies have to know are
// noted by asking.
func (d *Dispatcher) used(ctx context.Context, c *call.Caller, k *call.Call, t *target) {
	if d.Contexts == nil || !c.Gateway.UsesContexts() || t.tool != nil && c.Gateway.AsksContext(t.tool) {
		return
	}
	if x, err := d.contextOf(ctx, c, k); err == nil {
		d.Contexts.Used(x)
	}
}

// untrustedResult is called before anything of an untrusted result of a server is delivered, and makes the context of the call
// untrusted: whatever the client does with it is decided by that, on any node. If that cannot be noted, and a policy of the gateway
// has to know it, the fault says that the result is not delivered: Unavailable, CONTEXT_NOT_MARKED.
func (d *Dispatcher) untrustedResult(ctx context.Context, c *call.Caller, k *call.Call, server string) error {
	d.decided.Add(ctx, 1, metric.WithAttributes(
		attribute.String("policy", ""), attribute.String("outcome", decisionMarked), attribute.String("kind", "result_policy")))
	if d.Contexts == nil || c.Gateway.Contexts == compile.ContextsTrusted {
		return nil
	}
	x, err := d.contextOf(ctx, c, k)
	if err == nil {
		err = d.Contexts.Mark(ctx, x, server)
	}
	if err == nil || !c.Gateway.TracksContexts() {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonNotMarked, "The result of this tool is not trusted. It is held back, because it cannot be noted now "+
		"for later calls that it was seen. The tool may have run.").Because(err)
}

// withHandle adds the handle that a client has asked for to the result of its call.
func (d *Dispatcher) withHandle(c *call.Caller, k *call.Call, r call.Reply) (call.Reply, error) {
	if k.Context == nil || k.Context.Handle == nil || !k.Context.Handle.New || r.Result == nil {
		return r, nil
	}
	var m wire.Message
	if err := wire.ScanResult(r.Result, &m); err != nil {
		return call.Reply{}, unreadable(err)
	}
	handle := wire.Quote(d.Contexts.Handle(c, k.Context))
	var edits wire.Edits
	if m.R.Meta.Present() {
		edits.Set(m.R.Meta.Span, m.Meta.Context, wire.MetaContext, handle)
	} else {
		object := append(append([]byte(`{"`+wire.MetaContext+`":`), handle...), '}')
		edits.Insert(m.Result.Span, "_meta", object)
	}
	r.Result = edits.AppendTo(make([]byte, 0, len(r.Result)+len(handle)+64), r.Result)
	return r, nil
}
