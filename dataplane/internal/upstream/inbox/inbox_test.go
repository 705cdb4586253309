// SPDX-License-Identifier: Apache-2.0

package inbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
)

// owner notes what the box cannot place.
type owner struct{ got []string }

func (o *owner) Message(_ context.Context, m exchange.Inbound, newest *Call) error {
	to := "nobody"
	if newest != nil {
		to = string(newest.Token)
	}
	o.got = append(o.got, m.Method+" "+string(m.ID)+string(m.Params)+" for "+to)
	return nil
}

func (o *owner) Dropped(context.Context) { o.got = append(o.got, "dropped") }

// listening is a call and what it got.
type listening struct {
	Call
	got   []string
	ended chan error // the reasons that it was cancelled for
}

// err returns the reason that the call was cancelled for, nil if it was not.
func (l *listening) err() error {
	select {
	case err := <-l.ended:
		return err
	default:
		return nil
	}
}

func enter(t *testing.T, b *Box, id int64, token string, responses bool) *listening {
	t.Helper()
	l := &listening{ended: make(chan error, 4)}
	l.ID, l.Token, l.Timeout, l.Ceiling = id, []byte(token), time.Minute, 15*time.Minute
	l.Deliver = func(m exchange.Inbound, _ func()) error { l.got = append(l.got, string(m.Params)); return nil }
	l.Cancel = func(err error) { l.ended <- err }
	if responses {
		l.Responses = make(chan Response, 1)
	}
	if err := b.Enter(&l.Call); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTake: responses and progress find their call, everything else the owner.
func TestTake(t *testing.T) {
	o := &owner{}
	b := &Box{Owner: o}
	seven, eight := enter(t, b, 7, `"a"`, true), enter(t, b, 8, `"b"`, false)
	for _, text := range []string{
		`{"jsonrpc":"2.0","id":7,"result":{"x":1}}`, `{"jsonrpc":"2.0","id":7,"result":{"again":1}}`,
		`{"jsonrpc":"2.0","id":8,"result":{}}`, `{"jsonrpc":"2.0","id":"7","result":{}}`,
		`[{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":8,"p":1}},{"jsonrpc":"2.0","method":"m"}]`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":9}}`,
		`{"jsonrpc":"2.0","id":"q","method":"ping","params":{}}`,
	} {
		if err := b.Take(t.Context(), []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`{`, `[1]`, `[{`, `{"jsonrpc":"2.0"}`} {
		if err := b.Take(t.Context(), []byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	if r := <-seven.Responses; string(r.Result) != `{"x":1}` {
		t.Errorf("%s", r.Result)
	}
	if !slices.Equal(eight.got, []string{`{"progressToken":"b","p":1}`}) {
		t.Errorf("%q", eight.got)
	}
	want := []string{"dropped", "dropped", `m  for "b"`, "dropped", `ping "q"{} for "b"`}
	if !slices.Equal(o.got, want) {
		t.Errorf("%q, want %q", o.got, want)
	}
	broken := errors.New("broken")
	b.Break(broken)
	if !errors.Is(seven.err(), broken) || eight.err() != nil || !errors.Is(b.Err(), broken) {
		t.Error("not the one that waits for a response")
	}
	if err := b.Enter(&Call{Responses: make(chan Response, 1), Cancel: func(error) {}}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	b.Leave(&eight.Call)
	b.Leave(&seven.Call)
	if eight.Give(func() error { t.Error("given after the end"); return nil }) || b.newest() != nil {
		t.Error("still there")
	}
}

// TestClock: progress restarts the time, questions stop it, and only what was
// waited for the upstream counts (M-49).
func TestClock(t *testing.T) {
	tests := []struct {
		name string
		do   func(l *listening)
		late time.Duration
	}{
		{"silence", func(*listening) {}, time.Minute},
		{"progress", func(l *listening) { time.Sleep(50 * time.Second); l.Restart() }, 110 * time.Second},
		{"progress up to the ceiling", func(l *listening) {
			for range 17 {
				time.Sleep(50 * time.Second)
				l.Restart()
			}
		}, 15 * time.Minute},
		{"a question", func(l *listening) {
			release := l.Hold([]byte("1"))
			time.Sleep(5 * time.Minute)
			l.Restart() // has no effect
			release()
			release()
		}, 6 * time.Minute},
		{"two questions", func(l *listening) {
			first, second := l.Hold([]byte("1")), l.Hold([]byte(`"2"`))
			time.Sleep(5 * time.Minute)
			first()
			time.Sleep(5 * time.Minute)
			second()
		}, 11 * time.Minute},
		{"a question taken back", func(l *listening) {
			l.Hold([]byte(`"q"`))
			time.Sleep(5 * time.Minute)
			l.TakenBack([]byte(`{"requestId":"other"}`))
			time.Sleep(time.Minute)
			l.TakenBack([]byte(`{"requestId":"q"}`))
		}, 7 * time.Minute},
		{"a question that nobody answers", func(l *listening) { l.Hold([]byte("1")) }, maxHeld},
		{"held time is not in the ceiling", func(l *listening) {
			for range 20 {
				release := l.Hold([]byte("1"))
				time.Sleep(10 * time.Minute)
				release()
			}
		}, 201 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Box{Owner: &owner{}}
				l := enter(t, b, 1, "1", false)
				start := time.Now()
				tt.do(l)
				if err := <-l.ended; !errors.Is(err, ErrLate) || time.Since(start) != tt.late {
					t.Errorf("%v after %v, want %v", err, time.Since(start), tt.late)
				}
				b.Leave(&l.Call)
			})
		})
	}
}

// TestGiveFails: a sink that refuses ends the call.
func TestGiveFails(t *testing.T) {
	b := &Box{Owner: &owner{}}
	l := enter(t, b, 1, "1", false)
	defer b.Leave(&l.Call)
	gone := errors.New("gone")
	var refused *exchange.SinkError
	if l.Give(func() error { return gone }); !errors.As(<-l.ended, &refused) || !errors.Is(refused, gone) {
		t.Errorf("%v", refused)
	}
}
