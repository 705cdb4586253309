// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// TestReplicasAreOne: any control plane serves any node, and each answers for all (D-51): which nodes there are and where,
// what they enforce, and, right after a write elsewhere, what was written.
func TestReplicasAreOne(t *testing.T) {
	d := deploy(t, pgtest.New(t), 3, nil)
	var nodes []*member
	for i := range 9 {
		nodes = append(nodes, d.join(fmt.Sprintf("n%d", i), i))
	}
	for _, c := range d.cps {
		eventually(t, "nodes at each, as "+c.name+" says", func() bool {
			s := spread(c.picture())
			return s["cp0"]+s["cp1"]+s["cp2"] == 9 && s["cp0"] > 0 && s["cp1"] > 0 && s["cp2"] > 0
		})
	}
	for i, c := range d.cps {
		team := fmt.Sprintf("team%d", i)
		rev := c.mustWrite(team)
		for _, other := range d.cps {
			if _, err := other.api.Teams.GetTeam(t.Context(), &adminv1.GetTeamRequest{Name: team}); err != nil {
				t.Errorf("%s does not see what was written at %s: %v", other.name, c.name, err)
			}
			other.enforcedBy(rev, nodes)
		}
	}

	// A node that connects elsewhere counts once, there: the older stream is not waited for (D-40).
	moved := d.join("n0", 1)
	for _, c := range d.cps {
		eventually(t, "n0 at cp1, as "+c.name+" says", func() bool { return c.picture()["n0"] == "cp1" })
	}
	nodes[0].stop()
	nodes[0] = moved
	rev := d.cps[2].mustWrite("once")
	for _, c := range d.cps {
		c.enforcedBy(rev, nodes)
	}
}

// TestIntegrationLostReplica: nodes of a control plane that is lost go to the others, and as long as nobody knows what its nodes do,
// nothing is claimed (D-52). When it is gone from the table, everybody agrees again.
func TestIntegrationLostReplica(t *testing.T) {
	d := deploy(t, pgtest.New(t), 3, nil)
	var nodes []*member
	for i := range 6 {
		nodes = append(nodes, d.join(fmt.Sprintf("n%d", i), i))
	}
	for _, c := range d.cps {
		eventually(t, "all nodes, as "+c.name+" says", func() bool {
			s := spread(c.picture())
			return s["cp0"]+s["cp1"]+s["cp2"] == 6 && s["cp2"] > 0
		})
	}
	lost, left := d.cps[2], d.cps[:2]
	lost.nodes.sever() // it still writes its row
	rev := left[0].mustWrite("after")
	for _, c := range left {
		eventually(t, "the others have its nodes, as "+c.name+" says", func() bool {
			s := spread(c.picture())
			return s["cp0"]+s["cp1"] == 6
		})
		res := c.wait(rev, 3*time.Second)
		if res.GetEnforced() || !slices.ContainsFunc(res.GetLaggingNodes(), func(n string) bool { return strings.HasPrefix(n, "controlplane/cp2-") }) {
			t.Errorf("%s claims, while nobody knows who follows cp2: %v", c.name, res)
		}
	}
	lost.database.sever()
	for _, c := range left {
		eventually(t, "cp2 is gone, as "+c.name+" says", func() bool { return c.wait(rev, 500*time.Millisecond).GetEnforced() })
		c.enforcedBy(rev, nodes)
	}
	lost.database.mend()
	lost.nodes.mend()
	for _, c := range d.cps {
		rev := c.mustWrite("back-" + c.name)
		for _, other := range d.cps {
			other.enforcedBy(rev, nodes)
		}
	}
}

// TestIntegrationRollingRestart: each control plane is restarted in turn; the nodes are asked to leave and go where there is room, with
// what they have, and within one age each has its share (D-41, failure 2).
func TestIntegrationRollingRestart(t *testing.T) {
	d := deploy(t, pgtest.New(t), 3, func(s *controlplane.Settings) { s.Nodes.MaxAge = 15 * time.Second })
	var nodes []*member
	for i := range 30 {
		nodes = append(nodes, d.join(fmt.Sprintf("n%02d", i), i))
	}
	eventually(t, "all nodes", func() bool { return spread(d.cps[0].picture())[""] == 0 && len(d.cps[0].picture()) == 30 })
	for i, c := range d.cps {
		c.stop()
		rest := slices.Concat(d.cps[:i], d.cps[i+1:])
		rest[0].enforcedBy(rest[0].mustWrite("without-"+c.name), nodes)
		c.start()
	}
	for _, c := range d.cps {
		eventually(t, "as many nodes at each, as "+c.name+" says", func() bool {
			s := spread(c.picture())
			lowest, highest := min(s["cp0"], s["cp1"], s["cp2"]), max(s["cp0"], s["cp1"], s["cp2"])
			return s[""] == 0 && lowest > 0 && float64(highest) <= 1.3*float64(lowest)
		})
		t.Logf("%s: %v", c.name, spread(c.picture()))
	}
	rev := d.cps[0].mustWrite("last")
	for _, c := range d.cps {
		c.enforcedBy(rev, nodes)
	}
	digest := nodes[0].client.Status().Digest
	for _, n := range nodes {
		if s := n.client.Status(); n.fulls() != 1 || s.Digest != digest {
			t.Errorf("%s took %d full states, digest %x, others %x", n.name, n.fulls(), s.Digest, digest)
		}
	}
}

// TestDiscoveryElsewhere: a control plane without nodes has a node of another one list a server, and the result arrives,
// whichever control plane it is reported to.
func TestDiscoveryElsewhere(t *testing.T) {
	d := deploy(t, pgtest.New(t), 3, nil)
	nodes := []*member{d.join("n0", 0), d.join("n1", 1)}
	asks := d.cps[2]
	_, err := asks.api.Servers.DiscoverServer(t.Context(), &adminv1.DiscoverServerRequest{Name: "everything"})
	if !admin.IsNotFound(err) {
		t.Errorf("an unknown server: %v", err)
	}
	eventually(t, "a node at each of the others", func() bool {
		return maps.Equal(asks.picture(), map[string]string{"n0": "cp0", "n1": "cp1"})
	})
	if _, err := asks.api.Servers.CreateServer(t.Context(), &adminv1.CreateServerRequest{Server: &resourcev1.Server{
		Name:       "everything",
		Transport:  &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "http://127.0.0.1:3001/mcp"}},
		Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, same := range []bool{true, false} {
		found := make(chan error, 1)
		go func() {
			_, err := asks.api.Servers.DiscoverServer(context.WithoutCancel(t.Context()), &adminv1.DiscoverServerRequest{Name: "everything"})
			found <- err
		}()
		var task *distributionv1.Task
		reports := 0
		select {
		case task = <-nodes[0].tasks:
		case task = <-nodes[1].tasks:
			reports = 1
		case err := <-found:
			t.Fatalf("no task: %v", err)
		}
		if !same {
			reports = 1 - reports
		}
		if _, err := nodes[reports].client.NodeService().ReportDiscovery(t.Context(), &nodev1.ReportDiscoveryRequest{
			TaskId: task.GetId(), Result: &nodev1.ReportDiscoveryRequest_Discovered{Discovered: &nodev1.Discovered{ProtocolVersion: "2026-07-28"}},
		}); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "the result", found); err != nil {
			t.Errorf("reported where the task came from %t: %v", same, err)
		}
	}
}
