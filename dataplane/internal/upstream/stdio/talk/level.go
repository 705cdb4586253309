// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// leveler is the log level that a legacy server was told.
type leveler struct {
	turn  chan struct{} // held by who asks, so that a call does not overtake its level
	level int           // its rank; wire.LogLevels at first
}

func newLeveler() leveler { return leveler{turn: make(chan struct{}, 1), level: wire.LogLevels} }

// Level tells a legacy server that declares logging the level of a request, if it is more verbose than all before: sessions
// share the process (M-52). A modern one is told with each request. timeout bounds the wait for the answer.
func (x *Talk) Level(ctx context.Context, level string, timeout time.Duration) {
	i := wire.LogLevel(level)
	if i < 0 || x.modern() || !Declares(x.info.Load().Capabilities, "logging") {
		return
	}
	select {
	case x.level.turn <- struct{}{}:
		defer func() { <-x.level.turn }()
	case <-ctx.Done():
		return
	}
	if i >= x.level.level {
		return
	}
	params := append(wire.AppendString([]byte(`{"level":`), level), '}')
	e := Exchange{Talk: x, Timeout: timeout}
	if _, err := e.Run(ctx, &peer.Request{Method: "logging/setLevel", Params: params}); err == nil {
		x.level.level = i // after a refusal too: it is not asked with each call
	}
}
