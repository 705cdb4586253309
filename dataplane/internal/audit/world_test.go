// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane: it takes each event of a queue once.
type plane struct {
	mu      sync.Mutex
	err     error // of the next calls
	after   bool  // the error comes when the batch is stored already
	stored  map[string]uint64
	events  []*nodev1.ToolCallEvent
	batches int
}

// SendAudit implements Sender.
func (p *plane) SendAudit(_ context.Context, b Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && !p.after {
		return p.err
	}
	if p.stored == nil {
		p.stored = make(map[string]uint64)
	}
	p.batches++
	for i, raw := range b.Events {
		if n := b.First + uint64(i); n > p.stored[b.Queue] {
			e := &nodev1.ToolCallEvent{}
			if err := proto.Unmarshal(raw, e); err != nil {
				return err
			}
			p.events = append(p.events, e)
			p.stored[b.Queue] = n
		}
	}
	return p.err
}

func (p *plane) answer(err error, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.after = err, after
}

// names are the requested names of all events, in order.
func (p *plane) names() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		names = append(names, e.GetRequestedName())
	}
	return names
}

var errAway = errors.New("nobody there")

// node is a recorder that runs.
type node struct {
	*Recorder

	stop func()
	log  *obstest.Log
}

func config(dir string, p *plane) Config {
	return Config{Dir: dir, MaxBytes: 1 << 20, Full: Drop, Node: "n1", Sender: p, Meter: metricnoop.Meter{}}
}

// start runs a recorder in a bubble, until stop.
func start(t *testing.T, c Config) *node {
	t.Helper()
	n := &node{log: &obstest.Log{}}
	c.Log = slog.New(slog.NewTextHandler(n.log, nil))
	r, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n.Recorder = r
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, r.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func event(name string) call.AuditEvent {
	return call.AuditEvent{
		Time: time.Unix(1_800_000_000, 5000), Principal: ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com"}, Gateway: "eng",
		Server: "ev", Upstream: "echo", Requested: name, Outcome: call.OutcomeOK, InGateway: time.Millisecond, Revision: 7,
	}
}

// numbered names n events from a first.
func numbered(first, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("tool-%05d", first+i))
	}
	return names
}

func (n *node) record(names ...string) {
	for _, name := range names {
		n.Record(event(name))
	}
}

// settle lets time pass: enough for everything that was recorded to arrive, if somebody takes it.
func settle() {
	time.Sleep(2 * lastRetry)
	synctest.Wait()
}
