// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// Await returns with the revision and not before, also for one that was there already, and gives up with its context.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := directory.NewFollower(origin)
		s := &state{epoch: "e1", resources: make(map[node.Key]*distributionv1.Resource)}
		done := make(chan error, 1)
		go func() { done <- f.Await(t.Context(), 2) }()
		synctest.Wait()
		s.put(user("ada@example.com"))
		f.Apply(t.Context(), s, nil, false)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("returned at revision 1: %v", err)
		default:
		}
		f.Apply(t.Context(), s, s.put(user("bob@example.com")), false)
		synctest.Wait()
		if err := <-done; err != nil || f.View().UserByName("bob@example.com") == nil {
			t.Errorf("at its revision: %v", err)
		}
		if err := f.Await(t.Context(), 1); err != nil {
			t.Errorf("an older revision: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Await(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a revision that does not come: %v", err)
		}
	})
}

// State has who is denied, View has not.
func TestStateKeepsTheDenied(t *testing.T) {
	f := directory.NewFollower(origin)
	if f.State() != nil {
		t.Error("there is a state before the first one")
	}
	s := &state{epoch: "e1", resources: make(map[node.Key]*distributionv1.Resource)}
	s.put(user("ada@example.com"))
	f.Apply(t.Context(), s, nil, false)
	f.Deny(t.Context(), 2, []node.Key{{Kind: "user", Name: "ada@example.com"}})
	if f.View().Exists("uid-ada@example.com") || !f.State().Exists("uid-ada@example.com") || f.State().Exists("uid-bob") {
		t.Error("the wrong users exist")
	}
}

// However the setting writes the origin, resources are named as nodes name them.
func TestOriginOfASetting(t *testing.T) {
	for _, setting := range []string{"https://gw.example.com", "https://gw.example.com/", "https://GW.Example.com:443", "HTTPS://gw.example.com"} {
		f := directory.NewFollower(setting)
		s := &state{epoch: "e1", resources: make(map[node.Key]*distributionv1.Resource)}
		s.put(gateway("eng", forTeams("t")))
		f.Apply(t.Context(), s, nil, false)
		g, ok := f.View().ParseResource("https://gw.example.com/v1/mcp/eng")
		if !ok || f.View().Resource(g) != "https://gw.example.com/v1/mcp/eng" {
			t.Errorf("%s: found %v", setting, ok)
		}
	}
}
