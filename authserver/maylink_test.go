// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// A control plane asks for a link to a server that it has stored a moment ago: the authserver waits for it as long as for a person. What
// never comes is not refused here: the maker of links says what is wrong.
func TestMayConnectWaitsForServers(t *testing.T) {
	for _, tt := range []struct {
		name, user, server, reason string
		comes                      bool // the server, after a second
		took                       time.Duration
	}{
		{"there already", "uid-ada", "github", "", true, 0},
		{"a moment later", "uid-ada", "github", "", false, time.Second},
		{"never", "uid-ada", "gitlab", "", false, releaseGrace},
		{"no such person", "uid-none", "github", ReasonPrincipal, true, releaseGrace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := people()
				after := maps.Clone(before)
				github(after)
				r := &release{follower: directory.NewFollower("https://mcp.example.com/v1/mcp/"), fresh: func() bool { return true }}
				first := before
				if tt.comes {
					first = after
				}
				r.follower.Apply(t.Context(), first, nil, false)
				go func() {
					time.Sleep(time.Second)
					r.follower.Apply(t.Context(), after, nil, false)
				}()
				started := time.Now()
				err := r.MayConnect(t.Context(), ident.Workload{Role: ident.RoleControlPlane}, "", tt.user, tt.server)
				if took := time.Since(started); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if f := fault.From(err); tt.reason == "" && err != nil || tt.reason != "" && (f == nil || f.Kind != fault.Denied || f.Reason != tt.reason) {
					t.Errorf("got %v, want %q", err, tt.reason)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
			})
		})
	}
}
