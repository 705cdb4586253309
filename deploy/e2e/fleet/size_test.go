// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"os"
	"time"
)

// size is how large the fleet is and how long things last.
type size struct {
	Name                              string
	controlPlanes, authservers, nodes int
	abroad                            int // nodes of the other region
	sessions                          int
	pace                              time.Duration // between the calls of one session
	calm                              time.Duration // under load, before and after each fault
	outage                            time.Duration // of PostgreSQL and Redis
	frozen                            time.Duration // of a process that hangs, of a link that is cut
}

// perTeam is how many sessions one token has: below the streams that a principal may have at a gateway (M-13).
const perTeam = 25

// sizeVariable chooses the long form.
const sizeVariable = "E2E_FLEET"

func chosen() size {
	if os.Getenv(sizeVariable) == "long" {
		return size{
			Name: "long", controlPlanes: 3, authservers: 2, nodes: 5, abroad: 2, sessions: 1000, pace: 5 * time.Second,
			calm: 6 * time.Second, outage: time.Minute, frozen: 15 * time.Second,
		}
	}
	return size{
		Name: "short", controlPlanes: 3, authservers: 2, nodes: 3, abroad: 1, sessions: 100, pace: time.Second,
		calm: 1500 * time.Millisecond, outage: 4 * time.Second, frozen: 3 * time.Second,
	}
}
