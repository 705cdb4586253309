// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// upstream answers the requests of a driver one after the other: a result, or an error object after "!".
type upstream struct {
	t       *testing.T
	answers []string
	sent    []string // method and params
	asked   []string // raw inputRequests
	ended   []string // sessions
	told    []string // params of progress
	reply   string   // to questions
	refused *call.Reply
}

func (u *upstream) driver() *Driver {
	return &Driver{
		Send: func(_ context.Context, o *call.Outbound, _ func(call.Event) error) (call.Reply, error) {
			u.sent = append(u.sent, o.Method+" "+string(o.Params))
			if len(u.answers) == 0 {
				return call.Reply{}, errors.New("nothing more is known")
			}
			next := u.answers[0]
			u.answers = u.answers[1:]
			switch object, is := strings.CutPrefix(next, "!"); {
			case is:
				return call.Reply{Error: []byte(object)}, nil
			case next == "late":
				return call.Reply{}, fault.New(fault.Timeout, "LATE", "late")
			}
			return call.Reply{Result: []byte(next)}, nil
		},
		Answers: func(_ context.Context, _ *call.Outbound, requests []byte) ([]byte, *call.Reply, error) {
			u.asked = append(u.asked, string(requests))
			return []byte(u.reply), u.refused, nil
		},
		End: func(session string) { u.ended = append(u.ended, session) },
	}
}

func (u *upstream) events(e call.Event) error {
	u.told = append(u.told, string(e.Params))
	return nil
}

func outbound() *call.Outbound {
	return &call.Outbound{
		Server: &view.Server{Name: "srv"}, Method: "tools/call", Params: []byte(`{"name":"t"}`), ProgressToken: []byte(`"p"`),
	}
}

// outcome is a reply or a fault in one line.
func outcome(r call.Reply, err error) string {
	if err != nil {
		return fault.From(err).Reason
	}
	return string(r.Result) + string(r.Error)
}

func state(status, more string) string {
	return `{"taskId":"t1","status":"` + status + `"` + more + `}`
}

// TestModern is the row "Tasks" of mcp.md section 4 for a client that knows none of the extension: one long call.
func TestModern(t *testing.T) {
	const get, cancel = `tasks/get {"taskId":"t1"}`, `tasks/cancel {"taskId":"t1"}`
	ask := `,"inputRequests":{"a":{"method":"roots/list"},"b":{"method":"roots/list"}}`
	for _, tt := range []struct {
		name, first string
		answers     []string
		want        string
		sent        []string
		took        time.Duration
	}{
		{"it is done at once", state("completed", `,"result":{"content":[]}`), nil, `{"content":[]}`, nil, 0},
		{
			"it is done later", state("working", `,"pollIntervalMs":2000`),
			[]string{state("working", `,"pollIntervalMs":5000`), state("completed", `,"result":{"x":1.50}`)},
			`{"x":1.50}`,
			[]string{get, get},
			7 * time.Second,
		},
		{"it fails", state("working", ""), []string{state("failed", `,"error":{"code":-1,"message":"no"}`)}, `{"code":-1,"message":"no"}`, []string{get}, time.Second},
		{"it is cancelled there", state("working", ""), []string{state("cancelled", "")}, ReasonCancelled, []string{get}, time.Second},
		{"the result is missing at first", state("completed", ""), []string{state("completed", `,"result":{}`)}, `{}`, []string{get}, time.Second},
		{"the result is missing", state("completed", ""), []string{state("completed", "")}, ReasonTask, []string{get}, time.Second},
		{"the poll is refused", state("working", ""), []string{`!{"code":-32602,"message":"gone"}`, `{}`}, `{"code":-32602,"message":"gone"}`, []string{get, cancel}, time.Second},
		{"the poll is not a task", state("working", ""), []string{`{"status":"working"}`, `{}`}, ReasonTask, []string{get, cancel}, time.Second},
		{"the poll has another status", state("working", ""), []string{state("dancing", ""), `{}`}, ReasonTask, []string{get, cancel}, time.Second},
		{"it is no task", `{"status":"working"}`, nil, ReasonTask, nil, 0},
		{
			"it asks", state("input_required", ask),
			[]string{`{}`, state("input_required", ask), state("completed", `,"result":{}`)},
			`{}`,
			[]string{`tasks/update {"taskId":"t1","inputResponses":{"a":{}}}`, get, get},
			2 * time.Second,
		},
		{"its questions are no object", state("input_required", `,"inputRequests":[]`), []string{`{}`}, ReasonTask, []string{cancel}, 0},
		{"it changes its id", state("working", ""), []string{`{"taskId":"other","status":"working"}`, state("completed", `,"result":{}`)}, `{}`, []string{get, get}, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{t: t, answers: tt.answers, reply: `{"a":{}}`}
				start := time.Now()
				if got := outcome(u.driver().Modern(t.Context(), outbound(), []byte(tt.first), u.events)); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if d := cmp.Diff(tt.sent, u.sent); d != "" {
					t.Errorf("requests (-want +got):\n%s", d)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if strings.Contains(tt.name, "asks") && len(u.asked) != 1 {
					t.Errorf("the client was asked %q: each question once", u.asked)
				}
			})
		})
	}
}

// TestEndless is M-49 and M-83: a task is followed for a quarter of an hour, and may ask sixteen times.
func TestEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{t: t}
		for range 1000 {
			u.answers = append(u.answers, state("working", `,"pollIntervalMs":999999999`))
		}
		start := time.Now()
		got := outcome(u.driver().Modern(t.Context(), outbound(), []byte(state("working", `,"pollIntervalMs":0`)), u.events))
		if took := time.Since(start); got != ReasonLate || took > ceiling || took < ceiling-maxPoll {
			t.Errorf("%s after %v", got, took)
		}
		if last := u.sent[len(u.sent)-1]; last != `tasks/cancel {"taskId":"t1"}` {
			t.Errorf("the last request is %s", last)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{t: t, reply: `{}`}
		for n := range 100 {
			u.answers = append(u.answers, `{}`, state("input_required", fmt.Sprintf(`,"inputRequests":{"q%d":{}}`, n)))
		}
		got := outcome(u.driver().Modern(t.Context(), outbound(), []byte(state("input_required", `,"inputRequests":{"q":{}}`)), u.events))
		if got != ReasonTask || len(u.asked) != maxUpdates {
			t.Errorf("%s after %d questions", got, len(u.asked))
		}
	})
}

// TestClientEndsTask: when the client gives up, or cannot be asked, the task is cancelled at the server.
func TestClientEndsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{t: t, answers: []string{state("working", ""), `{}`}}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		got := outcome(u.driver().Modern(ctx, outbound(), []byte(state("working", "")), u.events))
		if got != fault.From(context.DeadlineExceeded).Reason || u.sent[len(u.sent)-1] != `tasks/cancel {"taskId":"t1"}` {
			t.Errorf("%s after %q", got, u.sent)
		}
		u = &upstream{t: t, answers: []string{`{}`}, refused: &call.Reply{Result: []byte(`{"isError":true}`)}}
		got = outcome(u.driver().Modern(t.Context(), outbound(), []byte(state("input_required", `,"inputRequests":{"q":{}}`)), u.events))
		if got != `{"isError":true}` || len(u.sent) != 1 || u.sent[0] != `tasks/cancel {"taskId":"t1"}` {
			t.Errorf("%s after %q", got, u.sent)
		}
	})
}

// TestProgress is M-50: a status message is told when it changes, to a client that wants progress.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, token := range []string{`"p"`, ""} {
			u := &upstream{t: t, answers: []string{
				state("working", `,"statusMessage":"one"`), state("working", `,"statusMessage":"one"`), state("working", ""),
				state("working", `,"statusMessage":"two"`), state("completed", `,"statusMessage":"two","result":{}`),
			}}
			o := outbound()
			if o.ProgressToken = []byte(token); token == "" {
				o.ProgressToken = nil
			}
			outcome(u.driver().Modern(t.Context(), o, []byte(state("working", "")), u.events))
			want := []string{`{"progressToken":"p","progress":1,"message":"one"}`, `{"progressToken":"p","progress":2,"message":"two"}`}
			if token == "" {
				want = nil
			}
			if d := cmp.Diff(want, u.told); d != "" {
				t.Errorf("progress (-want +got):\n%s", d)
			}
		}
	})
}

// TestLegacy is the same row for tasks of 2025-11-25: the node makes the call a task, and the client sees one long call.
func TestLegacy(t *testing.T) {
	const call, get, result = `tools/call {"task":{},"name":"t"}`, `tasks/get {"taskId":"t1"}`, `tasks/result {"taskId":"t1"}`
	made := func(status string) string { return `{"task":` + state(status, "") + `}` }
	for _, tt := range []struct {
		name    string
		answers []string
		want    string
		sent    []string
	}{
		{"no task", []string{`{"content":[]}`}, `{"content":[]}`, []string{call}},
		{"refused", []string{`!{"code":1,"message":"no"}`}, `{"code":1,"message":"no"}`, []string{call}},
		{"done", []string{made("working"), state("completed", ""), `{"x":1.50}`}, `{"x":1.50}`, []string{call, get, result}},
		{
			"related",
			[]string{made("completed"), `{ "_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"},"k":1},"x":1}`},
			`{ "_meta":{"k":1},"x":1}`,
			[]string{call, result},
		},
		{"failed", []string{made("failed"), `!{"code":2,"message":"no"}`}, `{"code":2,"message":"no"}`, []string{call, result}},
		{"cancelled", []string{made("cancelled")}, ReasonCancelled, []string{call}},
		{"asks", []string{made("input_required"), `{"y":1}`}, `{"y":1}`, []string{call, result}},
		{"asks, then takes long", []string{made("input_required"), "late", state("completed", ""), `{}`}, `{}`, []string{call, result, get, result}},
		{"lost", []string{made("working"), `{}`, `{}`}, ReasonTask, []string{call, get, `tasks/cancel {"taskId":"t1"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{t: t, answers: tt.answers}
				if got := outcome(u.driver().Legacy(t.Context(), outbound(), u.events)); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if d := cmp.Diff(tt.sent, u.sent); d != "" {
					t.Errorf("requests (-want +got):\n%s", d)
				}
				if len(u.ended) != 1 || !strings.HasPrefix(u.ended[0], "task-") {
					t.Errorf("sessions ended: %q: a session made for the task ends with it", u.ended)
				}
			})
		})
	}
}

// TestLegacyInSession: the session of a client is its own, and params that say task already say it once (M-10).
func TestLegacyInSession(t *testing.T) {
	u := &upstream{t: t, answers: []string{`{"content":[]}`}}
	o := outbound()
	o.Client.Session, o.Params = "s", []byte(`{"name":"t", "task" : {"ttl":5},"x":1.0}`)
	if got := outcome(u.driver().Legacy(t.Context(), o, u.events)); got != `{"content":[]}` || len(u.ended) != 0 {
		t.Errorf("%s, ended %q", got, u.ended)
	}
	if want := []string{`tools/call {"name":"t", "task" : {},"x":1.0}`}; !cmp.Equal(want, u.sent) {
		t.Errorf("sent %q, want %q", u.sent, want)
	}
	for _, params := range []string{`[]`, `{"a":1,"a":1}`} {
		o.Params = []byte(params)
		if _, err := u.driver().Legacy(t.Context(), o, u.events); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", params, err)
		}
	}
}

func TestIsCreated(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"resultType":"task","taskId":"t"}`: true, `{"resultType":"complete","x":"task"}`: false, `{"content":[]}`: false, `"task"`: false, `{"resultType":"task"`: false,
	} {
		if got := IsCreated([]byte(raw)); got != want {
			t.Errorf("IsCreated(%s) = %v", raw, got)
		}
	}
}
