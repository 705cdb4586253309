// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an upstream call that says what a test wants said and ends when it is told to, or cancelled.
type script struct {
	*Call
	t     *testing.T
	say   func(call.Event) error
	end   chan call.Reply
	heard []string // by the first listener

	mu      sync.Mutex
	because error             // cause of its context, once it has ended
	answers map[string]string // to questions, by their ids
	endings int
}

// settled returns what has become of it by now: the answers, how often it ended, and why it was cancelled.
func (s *script) settled() (answers map[string]string, endings int, because error) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.answers), s.endings, s.because
}

func (s *script) listener(token string, into *[]string) *Listener {
	l := &Listener{
		Sink:  func(m []byte) error { *into = append(*into, string(m)); return nil },
		Hears: func(params []byte) bool { return !strings.Contains(string(params), "debug") },
	}
	if token != "" {
		l.Token = []byte(token)
	}
	return l
}

func start(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, end: make(chan call.Reply), answers: map[string]string{}}
	ready := make(chan struct{})
	s.Call = Start(t.Context(), Config{
		Send: func(ctx context.Context, events func(call.Event) error) (call.Reply, error) {
			s.say = events
			close(ready)
			select {
			case r := <-s.end:
				return r, nil
			case <-ctx.Done():
				s.mu.Lock()
				defer s.mu.Unlock()
				s.because = context.Cause(ctx)
				return call.Reply{}, ctx.Err()
			}
		},
		Offer: []byte(`{"elicitation":{},"roots":{}}`), Capabilities: []byte(`{"elicitation":{}}`),
	}, s.listener("1", &s.heard), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endings++
	})
	<-ready
	return s
}

func (s *script) tell(method, params string) {
	s.t.Helper()
	raw := wire.AppendNotification(nil, method, []byte(params))
	e := call.Event{Method: method, Params: []byte(params), Raw: raw}
	if err := s.say(e); err != nil {
		s.t.Fatal(err)
	}
	clear(raw) // nothing of it is kept
}

func (s *script) ask(id, method, params string) {
	s.t.Helper()
	if err := s.say(call.Event{
		Method: method, Params: []byte(params), ID: []byte(id),
		Answer: func(a call.Answer) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.answers[id] = string(a.Result) + string(a.Error)
		},
	}); err != nil {
		s.t.Fatal(err)
	}
}

func keysOf(o Outcome) (keys []string) {
	for _, q := range o.Questions {
		keys = append(keys, q.Key)
	}
	return keys
}

const form, yes, no = `{"message":"m"}`, `{"action":"accept"}`, `{"action":"cancel"}`

// TestAnswers is M-76 and M-79: questions share a result, get their answers by key, and what is missing or malformed is
// asked again.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		from := time.Now()
		s.ask("1", "elicitation/create", form)
		time.Sleep(window / 2)
		s.ask("2", "elicitation/create", form)
		s.ask("3", "sampling/createMessage", `{}`) // not offered
		out := s.Wait(t.Context())
		if took := time.Since(from); took != window || out.Round != 1 || !cmp.Equal(keysOf(out), []string{"q1", "q2"}) {
			t.Errorf("after %v round %d asks %v", took, out.Round, keysOf(out))
		}
		if answers, _, _ := s.settled(); !strings.Contains(answers["3"], "-32601") {
			t.Errorf("what was not offered is answered %s", answers["3"])
		}
		var heard []string
		s.Resume(s.listener("2", &heard), []byte(`{"q1":{"action":"perhaps"},"q2":`+yes+`,"q9":{}}`))
		out = s.Wait(t.Context())
		if answers, _, _ := s.settled(); out.Round != 2 || !cmp.Equal(keysOf(out), []string{"q1"}) || answers["2"] != yes || answers["1"] != "" {
			t.Errorf("round %d asks %v, answered %v", out.Round, keysOf(out), answers)
		}
		s.Resume(s.listener("2", &heard), []byte(`[]`)) // no object answers nothing
		if out = s.Wait(t.Context()); !cmp.Equal(keysOf(out), []string{"q1"}) {
			t.Errorf("it asks %v", keysOf(out))
		}
		s.Resume(s.listener("2", &heard), []byte(`{"q1":`+yes+`}`))
		go func() { s.end <- call.Reply{Result: []byte(`{}`)} }()
		out = s.Wait(t.Context())
		if answers, endings, _ := s.settled(); string(out.Reply.Result) != `{}` || out.Questions != nil || answers["1"] != yes || endings != 1 {
			t.Errorf("%+v, answered %v", out, answers)
		}
	})
}

// TestKept is M-80 and the bounds of M-20: what an upstream says while nobody listens.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.ask("1", "elicitation/create", form)
		s.Wait(t.Context())
		s.tell("notifications/progress", `{"progressToken":1,"progress":1}`)
		s.tell("notifications/progress", `{"progressToken":1,"progress":2,"x":1.50}`)
		s.tell("notifications/message", `{"level":"debug","data":0}`)
		for n := range 100 {
			s.tell("notifications/message", fmt.Sprintf(`{"level":"info","data":%d}`, n))
		}
		s.tell("notifications/other", `{}`)
		var heard []string
		s.Resume(s.listener(`"new"`, &heard), []byte(`{"q1":`+yes+`}`))
		if len(heard) != 1+maxLogs-1 || !strings.Contains(heard[0], `{"progressToken":"new","progress":2,"x":1.50}`) ||
			!strings.Contains(heard[1], `"data":0`) || !strings.Contains(heard[maxLogs-1], fmt.Sprintf(`"data":%d`, maxLogs-2)) {
			t.Errorf("%d messages: %q", len(heard), heard)
		}
		s.tell("notifications/progress", `{"progressToken":1,"progress":3}`)
		if last := heard[len(heard)-1]; !strings.Contains(last, `{"progressToken":"new","progress":3}`) {
			t.Errorf("after that comes %s", last)
		}
		s.end <- call.Reply{Result: []byte(`{}`)}
		s.Wait(t.Context())
	})
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.ask("1", "elicitation/create", form)
		s.Wait(t.Context())
		for range 10 {
			s.tell("notifications/message", `{"level":"info","data":"`+strings.Repeat("x", maxLogBytes/4)+`"}`)
		}
		if len(s.logs) != 3 || s.logBytes > maxLogBytes {
			t.Errorf("%d log messages of %d bytes are kept", len(s.logs), s.logBytes)
		}
		s.end <- call.Reply{}
		s.Wait(t.Context())
	})
}

// TestTooManyQuestions: one question may be as large as a message, behind it there is room for 1 MiB and 64 in all; the
// others hear at once that nobody answers.
func TestTooManyQuestions(t *testing.T) {
	large := func(n int) string { return `{"message":"` + strings.Repeat("x", n) + `"}` }
	for _, tt := range []struct {
		name      string
		questions []string
		open      int
	}{
		{"in number", strings.Split(strings.Repeat(form+"\n", maxOpen+5), "\n")[:maxOpen+5], maxOpen},
		{"the first is large", []string{large(3 * maxOpenBytes), form, form}, 1},
		{"in bytes", []string{form, large(maxOpenBytes / 2), large(maxOpenBytes / 2), form}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t)
				for i, q := range tt.questions {
					s.ask(fmt.Sprint(i), "elicitation/create", q)
				}
				out := s.Wait(t.Context())
				answers, _, _ := s.settled()
				if len(out.Questions) != tt.open || len(answers) != len(tt.questions)-tt.open {
					t.Errorf("%d are asked, %d refused, want %d of %d", len(out.Questions), len(answers), tt.open, len(tt.questions))
				}
				for id, a := range answers {
					if a != no {
						t.Errorf("question %s is answered %s", id, a)
					}
				}
				s.end <- call.Reply{}
				s.Wait(t.Context())
				if answers, _, _ = s.settled(); len(answers) != len(tt.questions) {
					t.Errorf("%d of %d are answered at the end", len(answers), len(tt.questions))
				}
			})
		})
	}
}

// TestTakenBack is M-80: a question that the upstream takes back is not asked, nor answered.
func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.ask("1", "elicitation/create", form)
		s.ask(`"1"`, "elicitation/create", form)
		for _, params := range []string{`{"requestId":1}`, `{"requestId":7}`, `[]`} {
			s.tell("notifications/cancelled", params)
		}
		out := s.Wait(t.Context())
		if answers, _, _ := s.settled(); !cmp.Equal(keysOf(out), []string{"q2"}) || answers["1"] != "" {
			t.Errorf("it asks %v, answered %v", keysOf(out), answers)
		}
		s.end <- call.Reply{}
		s.Wait(t.Context())
	})
}

// TestTable is M-79 and M-81: a call is claimed once; too many, too late and a node that shuts down end it: its questions
// are answered that nobody answers, and then it is cancelled.
func TestTable(t *testing.T) {
	abandoned := func(t *testing.T, s *script, cause error) {
		t.Helper()
		if answers, endings, _ := s.settled(); answers["1"] != no || endings != 0 {
			t.Errorf("answered %v, ended %d times", answers, endings)
		}
		time.Sleep(grace)
		if _, endings, because := s.settled(); endings != 1 || !errors.Is(because, cause) {
			t.Errorf("ended %d times, by %v, want %v", endings, because, cause)
		}
	}
	held := func(t *testing.T) *script {
		s := start(t)
		s.ask("1", "elicitation/create", form)
		s.Wait(t.Context())
		return s
	}
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(Limits{Life: time.Minute, PerPrincipal: 2, PerNode: 3})
		var all []*script
		var tickets []Ticket
		for i, who := range []string{"ada", "ada", "ada", "bob", "eve"} {
			s := held(t)
			ticket, ok := table.Put(who, s.Call)
			if want := i != 2 && i != 4; ok != want {
				t.Errorf("%s's is held: %v", who, ok)
			} else if !ok {
				abandoned(t, s, ErrRefused)
				continue
			}
			all, tickets = append(all, s), append(tickets, ticket)
		}
		if table.Claim(tickets[0].ID) != all[0].Call || table.Claim(tickets[0].ID) != nil || table.Claim([16]byte{}) != nil || table.Len() != 2 {
			t.Error("a call is claimed twice, or not at all")
		}
		if _, ok := table.Put("ada", all[0].Call); !ok {
			t.Error("there is room again")
		}
		time.Sleep(time.Until(tickets[1].Expires))
		abandoned(t, all[1], errExpired)
		if table.Claim(tickets[1].ID) != nil {
			t.Error("it is claimed too late")
		}
		late := held(t)
		if _, ok := table.Put("eve", late.Call); !ok {
			t.Error("there is no room")
		}
		table.Drain()
		abandoned(t, late, errDraining)
		if _, ok := table.Put("eve", held(t).Call); ok || table.Len() != 0 {
			t.Errorf("a node that shuts down holds %d", table.Len())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
	})
}

// TestAbandoned is M-81: an upstream that was told that nobody is there and asks on is cancelled at once; one that ends by
// itself is not cancelled.
func TestAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.ask("1", "elicitation/create", form)
		s.Wait(t.Context())
		s.Abandon(errExpired)
		s.Abandon(errDraining)
		s.ask("2", "elicitation/create", form)
		if answers, _, because := s.settled(); !errors.Is(because, errAsksOn) || answers["2"] != no {
			t.Errorf("%v, answered %v", because, answers)
		}
		s = start(t)
		s.ask("1", "elicitation/create", form)
		s.Wait(t.Context())
		s.Abandon(errExpired)
		s.end <- call.Reply{}
		time.Sleep(2 * grace)
		if _, endings, because := s.settled(); because != nil || endings != 1 {
			t.Errorf("ended %d times, cancelled by %v", endings, because)
		}
		s.Abandon(errExpired) // too late to matter
	})
}

// TestClientLeaves is M-31: a client that leaves while it waits ends the call.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { time.Sleep(time.Second); cancel(left) }()
		out := s.Wait(ctx)
		if _, _, because := s.settled(); !errors.Is(out.Err, context.Canceled) || !errors.Is(because, left) {
			t.Errorf("%v by %v", out.Err, because)
		}
	})
}
