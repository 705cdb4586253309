// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// about is a question about a gateway.
func about(gateway, name string) *distributionv1.ExplainTask {
	t := &distributionv1.ExplainTask{Node: name}
	r := t.ProtoReflect()
	r.Mutable(r.Descriptor().Fields().ByName("question"))
	t.GetQuestion().Gateway = gateway
	return t
}

// TestExplainable: a question goes to a node that knows the task and may hold the gateway, the one that was named if one was; where
// there is none, what is said names the way out.
func TestExplainable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.write(feedtest.Shop()...)
		p.write(feedtest.Gateway("near", "1", "us"))
		refused := func(step string, task *distributionv1.ExplainTask, kind fault.Kind, reason, text string) {
			t.Helper()
			synctest.Wait()
			err := p.server.Explainable(task)
			if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason || !strings.Contains(f.Public, text) {
				t.Errorf("%s: %v", step, err)
			}
			if err := p.server.Dispatch(t.Context(), &distributionv1.Task{Id: "t", Kind: &distributionv1.Task_Explain{Explain: task}}); fault.From(err).Reason != distribute.ReasonNoNode {
				t.Errorf("%s: dispatched with %v", step, err)
			}
		}
		refused("none", about("demo", ""), fault.Unavailable, distribute.ReasonNoNode, "Start a data plane")
		startNode(t, p, "a1", "eu", func(s *sim, c *node.Config) { s.who, c.Capabilities = authserver("a1"), []string{"explain"} })
		refused("an authserver only", about("demo", ""), fault.Unavailable, distribute.ReasonNoNode, "Start a data plane")
		got := make(chan string, 4)
		start := func(name, region string, capabilities ...string) {
			startNode(t, p, name, region, func(_ *sim, c *node.Config) {
				c.Capabilities = capabilities
				c.Tasks = func(context.Context, *distributionv1.Task) { got <- name }
			})
		}
		start("old", "eu", "policies")
		refused("an old one only", about("demo", ""), fault.Precondition, distribute.ReasonNodesTooOld, "update old")
		start("new", "eu", "explain")
		refused("not there", about("near", ""), fault.Unavailable, distribute.ReasonNoNodeWithGateway, `holds the gateway "near"`)
		refused("named, and not there", about("near", "new"), fault.Unavailable, distribute.ReasonNoNodeWithGateway, `The node "new" does not hold`)
		refused("named, and not connected", about("demo", "none"), fault.Unavailable, distribute.ReasonNodeNotConnected, "penstock nodes")
		refused("named, and old", about("demo", "old"), fault.Precondition, distribute.ReasonNodesTooOld, "update old")
		start("far", "us", "explain")
		for _, tc := range []struct{ gateway, node, want string }{
			{"demo", "new", "new"}, {"demo", "far", "far"}, {"near", "", "far"}, {"near", "far", "far"},
		} {
			task := about(tc.gateway, tc.node)
			synctest.Wait()
			if err := p.server.Explainable(task); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- p.server.Dispatch(ctx, &distributionv1.Task{Id: "t", Kind: &distributionv1.Task_Explain{Explain: task}})
			}()
			if by := <-got; by != tc.want {
				t.Errorf("%s at %q: asked %s", tc.gateway, tc.node, by)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
