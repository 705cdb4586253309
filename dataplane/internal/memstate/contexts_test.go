// SPDX-License-Identifier: Apache-2.0

package memstate_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
)

func TestContexts(t *testing.T) {
	statetest.Contexts(t, memstate.NewContexts())
	synctest.Test(t, func(t *testing.T) { statetest.ContextsInTime(t, memstate.NewContexts(), time.Sleep) })
}

// Memory is bounded: what is too much counts as lost, so that nothing that was marked is taken for trusted.
func TestContextsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstate.NewContexts()
		mark := func(id string, window bool) {
			if err := s.Mark(t.Context(), []taint.Key{{ID: id, Window: window}}, "web"); err != nil {
				t.Fatal(err)
			}
		}
		reach := func() time.Duration {
			got, err := s.Read(t.Context(), []taint.Key{{ID: "x"}})
			if err != nil {
				t.Fatal(err)
			}
			return got[0].Reach
		}
		for i := range 1 << 16 {
			mark(fmt.Sprint("c-", i), true)
		}
		time.Sleep(2 * time.Hour)
		mark("new", false)
		if got := reach(); got != 2*time.Hour {
			t.Errorf("what has ended is in the way: it reaches back %s", got)
		}
		for i := range 1 << 16 {
			mark(fmt.Sprint("s-", i), false)
		}
		if got := reach(); got != 0 {
			t.Errorf("too many: it reaches back %s", got)
		}
	})
}
