// SPDX-License-Identifier: Apache-2.0

package subscribe_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/subscribe"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, params string
		want         subscribe.Filter
		code         int // of the error; 0 for none
	}{
		{"empty", `{"notifications":{}}`, subscribe.Filter{}, 0},
		{
			"all", `{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a","\u0062","a"],"taskIds":["t"]}}`,
			subscribe.Filter{Subscription: call.Subscription{Tools: true, Prompts: true, Resources: true, URIs: []string{"a", "b"}, TaskIDs: []string{"t"}}, Tasks: true},
			0,
		},
		{"false", `{"notifications":{"toolsListChanged":false}}`, subscribe.Filter{}, 0},
		{"no task", `{"notifications":{"taskIds":[]}}`, subscribe.Filter{}, 0},
		{"unknown kinds", `{"notifications":{"x":5,"ToolsListChanged":true}}`, subscribe.Filter{}, 0},
		{"absent", `{}`, subscribe.Filter{}, wire.CodeInvalidParams},
		{"null", `{"notifications":null}`, subscribe.Filter{}, wire.CodeInvalidParams},
		{"a list null", `{"notifications":{"taskIds":null}}`, subscribe.Filter{}, wire.CodeInvalidParams},
		{"a kind null", `{"notifications":{"toolsListChanged":null}}`, subscribe.Filter{}, wire.CodeInvalidParams},
		{"a kind twice (M-10)", `{"notifications":{"x":1,"x":1}}`, subscribe.Filter{}, wire.CodeInvalidRequest},
		{"no JSON", `{`, subscribe.Filter{}, wire.CodeParse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := subscribe.Parse([]byte(tt.params))
			if wire.CodeOf(err) != tt.code {
				t.Fatalf("error %v, want the code %d", err, tt.code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" && err == nil {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseBounds: of more URIs than are honoured the first ones are.
func TestParseBounds(t *testing.T) {
	var b strings.Builder
	for n := range 300 {
		fmt.Fprintf(&b, `"u%d",`, n)
	}
	all := strings.TrimSuffix(b.String(), ",")
	got, err := subscribe.Parse([]byte(`{"notifications":{"resourceSubscriptions":[` + all + `],"taskIds":[` + all + `]}}`))
	if err != nil || len(got.URIs) != 256 || got.URIs[255] != "u255" || len(got.TaskIDs) != 256 {
		t.Errorf("%d URIs, %d tasks, %v", len(got.URIs), len(got.TaskIDs), err)
	}
}

// TestTaggedKeepsTheRest: no byte but the id changes.
func TestTaggedKeepsTheRest(t *testing.T) {
	s := call.Subscription{Tools: true, URIs: []string{"a"}}
	const id = `{"io.modelcontextprotocol/subscriptionId":"x"}`
	for _, tt := range []struct{ message, want string }{
		{
			`{ "method":"notifications/tools/list_changed","jsonrpc":"2.0" , "params" : {} }`,
			`{ "method":"notifications/tools/list_changed","jsonrpc":"2.0" , "params" : {"_meta":` + id + `} }`,
		},
		{
			`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","n":1.50,"_meta":{}}}`,
			`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","n":1.50,"_meta":` + id + `}}`,
		},
		{`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t"}}`, ``},
		{`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`, ``},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, ``},
		{`[]`, ``},
	} {
		if got := string(subscribe.Tagged([]byte(tt.message), []byte(`"x"`), &s)); got != tt.want {
			t.Errorf("Tagged(%s)\n = %s, want\n   %s", tt.message, got, tt.want)
		}
	}
}

// A watch goes on until the one that takes its place is there: what changes meanwhile is told.
func TestRelayOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := make(chan string, 8)
		watch := func(name string, taken bool) func(context.Context, call.Subscription, func([]byte)) {
			return func(ctx context.Context, s call.Subscription, _ func([]byte)) {
				steps <- name + " begins"
				if taken {
					<-time.After(100 * time.Millisecond)
					s.Established()
				}
				<-ctx.Done()
				steps <- name + " ends"
			}
		}
		r := subscribe.Relay{Send: func([]byte) {}}
		began := time.Now()
		for _, w := range []struct {
			name  string
			taken bool
			at    time.Duration
		}{
			{"first", true, 0},
			{"second", true, 100 * time.Millisecond},
			{"third", false, 1100 * time.Millisecond}, // servers that say nothing are not waited for
		} {
			r.Watch = watch(w.name, w.taken)
			r.Start(t.Context(), call.Subscription{})
			synctest.Wait() // until the watch has begun
			if got := time.Since(began); got != w.at {
				t.Errorf("%s started after %s, want %s", w.name, got, w.at)
			}
		}
		r.Stop()
		close(steps)
		var got []string
		for s := range steps {
			got = append(got, s)
		}
		want := []string{"first begins", "second begins", "first ends", "third begins", "second ends", "third ends"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
