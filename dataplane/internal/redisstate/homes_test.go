// SPDX-License-Identifier: Apache-2.0

package redisstate_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

func TestHomes(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	statetest.Homes(t, func(*testing.T) home.Store { return redisstate.NewHomes(client) })
	server.Stop()
	s := redisstate.NewHomes(client)
	if _, err := s.Claim(t.Context(), []string{"k"}, "a", time.Minute); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("claim without Redis: %v", err)
	}
	if err := s.Release(t.Context(), []string{"k"}, "a"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("release without Redis: %v", err)
	}
}

func TestHomesOfACluster(t *testing.T) {
	client := redistest.StartCluster(t).Client(t)
	statetest.Homes(t, func(*testing.T) home.Store { return redisstate.NewHomes(client) })
}
