// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/offer"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/tasks"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// perform makes the call at the upstream, as a task where the server insists and the client knows none: the client sees
// one long call (mcp.md section 4, the row "Tasks").
func (b *Bridge) perform(ctx context.Context, o *call.Outbound, events func(call.Event) error) (call.Reply, error) {
	if o.TaskRequired {
		return b.driver().Legacy(ctx, o, events)
	}
	return b.once(ctx, o, events)
}

func (b *Bridge) driver() *tasks.Driver {
	return &tasks.Driver{Send: b.once, Answers: b.answers, End: b.cfg.Upstream.EndSession}
}

// wantsTasks reports whether a modern server refused the call of a legacy client because tasks were not declared. They are
// declared only then, so that a server that can do without makes none (mcp.md section 4).
func wantsTasks(o *call.Outbound, reply call.Reply) bool {
	if o.Method != callTool || reply.Error == nil || reply.Version.Era() != wire.Modern {
		return false
	}
	return slices.Contains(o.Gateway.Extensions, compile.ExtensionTasks) && verdict.Read(reply.Error).Demands(compile.ExtensionTasks)
}

// withTasks returns the request with the tasks extension declared.
func withTasks(o *call.Outbound) *call.Outbound {
	again := *o
	again.Offer = offer.WithExtension(o.Offer, compile.ExtensionTasks)
	return &again
}
