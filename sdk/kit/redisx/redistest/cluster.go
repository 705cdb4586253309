// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	masters = 3
	// clusterTimeout is for six processes to agree on two busy cores.
	clusterTimeout = 90 * time.Second
	nodeTimeoutMS  = "1500" // a replica takes over about this long after its master's death
)

// Cluster is three masters with a replica each. Servers holds the masters first, then the replicas.
type Cluster struct {
	Servers []*Server

	tb testing.TB
}

// StartCluster starts a cluster and waits until every server sees it whole; the test's clean-up ends it.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	var err error
	for range attempts {
		c := &Cluster{tb: tb}
		if err = c.launch(); err == nil {
			return c
		}
		c.stop()
	}
	tb.Fatal(err)
	return nil
}

// Addrs returns the addresses of all six servers.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr
	}
	return addrs
}

// URL returns what a process sets as redis.url.
func (c *Cluster) URL() obs.Secret {
	return obs.Secret("redis+cluster://" + strings.Join(c.Addrs(), ","))
}

// Client returns a client for looking into the cluster, without the breaker of kit/redisx. The test's clean-up closes it.
func (c *Cluster) Client(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), DisableIdentity: true})
	tb.Cleanup(func() { _ = client.Close() }) // nothing is lost
	return client
}

// KillMaster kills master i of 0 to 2 and returns when its replica has taken over: the surviving servers see the cluster whole.
func (c *Cluster) KillMaster(i int) {
	c.tb.Helper()
	c.Servers[i].Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.tb.Context()), clusterTimeout)
	defer cancel()
	id := c.Servers[i].Addr
	if err := c.await(ctx, func(nodes string) bool { return promoted(nodes, id) }); err != nil {
		c.tb.Fatalf("wait for the replica of %s to take over: %v", id, err)
	}
}

func (c *Cluster) launch() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.tb.Context()), clusterTimeout)
	defer cancel()
	for range 2 * masters {
		port, err := freePort(ctx, true)
		if err != nil {
			return err
		}
		s := &Server{tb: c.tb, dir: c.tb.TempDir(), Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), args: []string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", nodeTimeoutMS, "--cluster-config-file", "nodes.conf",
			"--repl-diskless-sync-delay", "0",
		}}
		if err := s.launch(); err != nil {
			return err
		}
		c.tb.Cleanup(s.Stop)
		c.Servers = append(c.Servers, s)
	}
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		return fmt.Errorf("these tests need redis-cli; install it with: %s", install)
	}
	args := append([]string{"--cluster", "create"}, c.Addrs()...)
	if out, err := exec.CommandContext(ctx, cli, append(args, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput(); err != nil {
		return fmt.Errorf("run redis-cli --cluster create: %w\n%s", err, out)
	}
	return c.await(ctx, whole)
}

func (c *Cluster) stop() {
	for _, s := range c.Servers {
		s.Stop()
	}
}

// await asks the running servers until each sees a working cluster and nodes of which the condition holds.
func (c *Cluster) await(ctx context.Context, holds func(nodes string) bool) error {
	tick := time.NewTicker(10 * poll)
	defer tick.Stop()
	for _, s := range c.Servers {
		if !s.running() {
			continue
		}
		client := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
		defer func() { _ = client.Close() }() // it only asked
		for {
			info, err := client.ClusterInfo(ctx).Result()
			nodes, nodesErr := client.ClusterNodes(ctx).Result()
			if err == nil && nodesErr == nil && strings.Contains(info, "cluster_state:ok") && holds(nodes) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w: %s\n%s", ctx.Err(), info, nodes)
			case <-tick.C:
			}
		}
	}
	return nil
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

// whole reads CLUSTER NODES: three masters with slots, three replicas in touch with them.
func whole(nodes string) bool {
	m, r := 0, 0
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		switch {
		case len(f) < 8:
		case strings.Contains(f[2], "master") && len(f) > 8:
			m++
		case strings.Contains(f[2], "slave") && f[7] == "connected":
			r++
		}
	}
	return m == masters && r == masters
}

// promoted reads CLUSTER NODES: three masters with slots, none of them the dead one.
func promoted(nodes, dead string) bool {
	m := 0
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) > 8 && strings.Contains(f[2], "master") && !strings.Contains(f[2], "fail") && !strings.HasPrefix(f[1], dead+"@") {
			m++
		}
	}
	return m == masters
}
