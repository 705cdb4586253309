// SPDX-License-Identifier: Apache-2.0

package redisstate_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

func TestNodes(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	statetest.Nodes(t, func(t *testing.T) forward.Store {
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return redisstate.NewNodes(client)
	})
}

func TestNodesOfACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	statetest.Nodes(t, func(t *testing.T) forward.Store {
		s := redisstate.NewNodes(client)
		nodes, err := s.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if err := s.Withdraw(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

// A store that is away says so, whatever it is asked.
func TestNodesWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	s := redisstate.NewNodes(server.Client(t))
	server.Stop()
	n := forward.Node{Name: "a", Address: "127.0.0.1:1"}
	_, list := s.Nodes(t.Context())
	for what, err := range map[string]error{
		"announce": s.Announce(t.Context(), n, forward.Lease), "withdraw": s.Withdraw(t.Context(), n), "list": list,
	} {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v, want Unavailable", what, err)
		}
	}
}
