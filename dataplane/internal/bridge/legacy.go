// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// legacy makes a request of a client with a session.
func (b *Bridge) legacy(ctx context.Context, o *call.Outbound, upstream wire.Era, sink func([]byte) error) (call.Reply, error) {
	if upstream == wire.Modern && isSubscription(o.Method) {
		return b.subscribe(ctx, o)
	}
	within, cancel := context.WithCancel(ctx)
	d := &desk{client: o.Client, offered: o.Offer, version: o.Version}
	defer d.close()
	defer cancel()
	heard := hears(o.Client.LogLevel)
	reply, err := b.rounds(within, o, func(e call.Event) error {
		switch {
		case e.ID != nil:
			d.ask(within, "", e)
		case e.Method == "notifications/cancelled":
			d.takeBack("", e.Params)
		case e.Method == "notifications/message":
			if heard(e.Params) {
				return sink(e.Raw)
			}
		case isOfSession(e.Method):
			b.aside(o, e)
		case passesToLegacy(e.Method, o):
			return sink(e.Raw)
		}
		return nil
	})
	if err != nil {
		return call.Reply{}, err
	}
	if isSubscription(o.Method) && reply.Version.Era() == wire.Modern {
		return b.subscribe(ctx, o) // it does not know the method
	}
	if reply.Error == nil {
		return reply, nil
	}
	return b.errorToLegacy(o, reply)
}

// passesToLegacy reports whether a notification of a call, of none of the kinds that have a rule of their own, is for a
// legacy client.
func passesToLegacy(method string, o *call.Outbound) bool {
	switch method {
	case "notifications/progress":
		return true
	case "notifications/elicitation/complete":
		return question.KnowsURL(o.Client.Capabilities, o.Version)
	case "notifications/tasks/status":
		return o.Version == wire.V20251125
	case "notifications/tasks", "notifications/subscriptions/acknowledged":
		return false
	}
	return true
}

// isOfSession reports whether a notification is about the server rather than about a call (M-91).
func isOfSession(method string) bool {
	switch method {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
		"notifications/resources/updated":
		return true
	}
	return false
}

// errorToLegacy is the row -32042 of mcp.md section 4, and M-47 for the rest.
func (b *Bridge) errorToLegacy(o *call.Outbound, reply call.Reply) (call.Reply, error) {
	e := verdict.Read(reply.Error)
	if e.Code() == wire.CodeURLElicitation && reply.Version.Era() != wire.Modern {
		if !o.Server.Questions.Elicitation || !question.KnowsURL(o.Client.Capabilities, o.Version) {
			return noPages(o.Method, e)
		}
		return reply, nil
	}
	return b.judge(o, reply, e)
}

// noPages is -32042 for a client that cannot show pages.
func noPages(method string, e *verdict.Error) (call.Reply, error) {
	pages := e.Pages()
	if len(pages) == 0 {
		return verdict.Refuse(method, verdict.ReasonPage, e.Message())
	}
	return verdict.Refuse(method, verdict.ReasonPage, verdict.Links(pages))
}

// judge is M-47.
func (b *Bridge) judge(o *call.Outbound, reply call.Reply, e *verdict.Error) (call.Reply, error) {
	out, err := e.Reply(verdict.Case{Method: o.Method, Params: o.Params, Client: o.Version, Upstream: reply.Version})
	out.Version = reply.Version
	return out, err
}
