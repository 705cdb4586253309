// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	everything = `"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["test://a","file:///b","test://a"],"taskIds":["t"]`
	listenMeta = `"_meta":{` + metaV + `,"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
)

// listen opens a subscription under an id and checks its first message, of which honoured is a part.
func (l *live) listen(id, filter, honoured string) *stream {
	l.t.Helper()
	s := l.follow(l.subscribe(l.t.Context(), id, filter)) //nolint:bodyclose // follow closes it
	want := `data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":` + tag(id) + `,"notifications":{` + honoured + `}}}`
	l.expect(s, want)
	<-l.calls.watched
	return s
}

func (l *live) subscribe(ctx context.Context, id, filter string) (*http.Response, error) {
	body := `{"jsonrpc":"2.0","id":` + id + `,"method":"subscriptions/listen","params":{"notifications":{` + filter + `},` + listenMeta + `}}`
	return l.send(ctx, http.MethodPost, body, "MCP-Protocol-Version: "+modern, "Mcp-Method: subscriptions/listen")
}

func tag(id string) string { return `{"io.modelcontextprotocol/subscriptionId":` + id + `}` }

// expect fails unless the next event of the stream is the data line, and that a message of the version.
func (l *live) expect(s *stream, data string) {
	l.t.Helper()
	var check schemas
	for _, want := range []string{"event: message", data} {
		if got := s.next(); got != want {
			l.t.Fatalf("the stream has\n%q, want\n%q", got, want)
		}
	}
	check.message(l.t, "stream", modern, `"method":"subscriptions/listen"`, []byte(strings.TrimPrefix(data, "data: ")))
}

// wantResult fails unless the stream ends within d by the result of its request.
func (l *live) wantResult(s *stream, id string, d time.Duration) {
	l.t.Helper()
	from := time.Now()
	l.expect(s, `data: {"jsonrpc":"2.0","id":`+id+`,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"`+l.gateway+`","version":"1.2.3"},`+tag(id)[1:]+`}}`)
	s.wantEnd(0)
	if took := time.Since(from); took > d {
		l.t.Errorf("the subscription ended after %v, want within %v", took, d)
	}
	<-l.calls.left
}

// full publishes the gateway full anew.
func (l *live) publish(change func(b *view.Builder)) {
	b := view.From(l.holder.Load().View)
	change(b)
	l.holder.Publish(b.Build("e", l.holder.Load().Revision+1))
}

func inFull(t *testing.T, o options, f func(t *testing.T, l *live)) {
	t.Helper()
	inBubble(t, o, func(t *testing.T, l *live) {
		l.gateway = "full"
		f(t, l)
	})
}

// TestListen is M-29: the acknowledged subset, the id on every message, only what was asked for.
func TestListen(t *testing.T) {
	for _, tt := range []struct {
		name, id, gateway, filter, honoured string
		told                                map[string]string // what an upstream says, to what the client gets; empty for nothing
	}{
		{
			"everything", "7", "full", everything,
			`"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["test://a"],"taskIds":["t"]`,
			map[string]string{
				`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`:                                                              `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":` + tag("7") + `,"uri":"test://a"}}`,
				`{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`:                                                                                     `{"params":{"_meta":` + tag("7") + `},"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`,
				`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{"x":1}}}`:                                                            `{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{` + tag("7")[1:len(tag("7"))-1] + `,"x":1}}}`,
				`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":"u"},"uri":"test://a"}}`: `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":7},"uri":"test://a"}}`,
				`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`:                                                         "",
				`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`:                                                                 "",
				`{"jsonrpc":"2.0","id":1,"method":"roots/list"}`:                                                                                                        "",
				`{"jsonrpc":"2.0","id":1,"result":{}}`:                                                                                                                  "",
				`no message`:                                                                                                                                            "",
			},
		},
		{
			"a gateway with tools only", `"a\"b"`, "eng", everything, `"toolsListChanged":true,"taskIds":["t"]`,
			map[string]string{
				`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`:                          "",
				`{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`:                        "",
				`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`: "",
			},
		},
		{"nothing", "0", "full", ``, ``, map[string]string{
			`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`:            "",
			`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t"}}`: "",
		}},
		{"what is not wanted, and what is not known", "-1", "full", `"toolsListChanged":false,"example":[1],"promptsListChanged":true`, `"promptsListChanged":true`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFull(t, options{}, func(t *testing.T, l *live) {
				l.gateway = tt.gateway
				s := l.listen(tt.id, tt.filter, tt.honoured)
				for message, want := range tt.told {
					l.calls.told <- message
					if want != "" {
						l.expect(s, "data: "+want)
					}
					s.quiet()
				}
				l.Drain()
				l.wantResult(s, tt.id, 0)
			})
		})
	}
}

// TestListenChanges is M-71: what the gateway itself changes is told once, and only to whom asked for it.
func TestListenChanges(t *testing.T) {
	inFull(t, options{}, func(t *testing.T, l *live) {
		both := l.listen("1", `"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true`,
			`"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true`)
		prompts := l.listen(`"p"`, `"promptsListChanged":true`, `"promptsListChanged":true`)
		changed := func(kind, id string) string {
			return `data: {"params":{"_meta":` + tag(id) + `},"jsonrpc":"2.0","method":"notifications/` + kind + `/list_changed"}`
		}
		server := *l.holder.Load().Server("all")
		put := func(change func(s *view.Server)) {
			change(&server)
			is := server
			l.publish(func(b *view.Builder) { b.PutServer("all", &is) })
		}
		put(func(s *view.Server) { s.DisplayName = "All of them" })
		time.Sleep(time.Second)
		both.quiet()
		put(func(s *view.Server) {
			s.Prompts = []compile.Listed{{Name: "greet", Body: []byte(`{"name":"greet","title":"t"}`)}}
		})
		l.expect(both, changed("prompts", "1"))
		l.expect(prompts, changed("prompts", `"p"`))
		put(func(s *view.Server) {
			s.Templates = []compile.Listed{{Name: "test://{x}", Body: []byte(`{"uriTemplate":"test://{x}","name":"x"}`)}}
		})
		l.expect(both, changed("resources", "1"))
		l.publish(func(b *view.Builder) {
			g := l.holder.Load().Gateway("full")
			b.PutGateway(gateway(g.Gateway, g.Tools[1:]...))
		})
		l.expect(both, changed("tools", "1"))
		time.Sleep(time.Second)
		both.quiet()
		prompts.quiet()
		l.Drain()
		l.wantResult(both, "1", 0)
		l.wantResult(prompts, `"p"`, 0)
	})
}

// TestListenFollowsTheGateway: what upstreams are watched for is asked anew when the gateway changes, and only then.
func TestListenFollowsTheGateway(t *testing.T) {
	inFull(t, options{}, func(t *testing.T, l *live) {
		s := l.listen("1", `"promptsListChanged":true,"resourceSubscriptions":["test://a"]`, `"promptsListChanged":true,"resourceSubscriptions":["test://a"]`)
		l.publish(func(b *view.Builder) { b.DeleteGateway("sales") })
		time.Sleep(time.Second)
		if len(l.calls.watched) != 0 {
			t.Fatal("a change elsewhere starts another watch")
		}
		l.publish(func(b *view.Builder) {
			g := l.holder.Load().Gateway("full").Gateway
			g.Features = g.Features[:1]
			g.Features = []compile.Feature{{Server: "all", Connection: "all", Prompts: true}}
			b.PutGateway(gateway(g))
		})
		<-l.calls.left
		if diff := cmp.Diff(call.Subscription{Prompts: true}, <-l.calls.watched); diff != "" {
			t.Errorf("after resources are off (-want +got):\n%s", diff)
		}
		l.calls.told <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}`
		s.quiet()
		l.Drain()
		l.wantResult(s, "1", 0)
	})
}

// TestListenEnds is M-21, RS-11, M-95: what ends a subscription, with its result, and how soon.
func TestListenEnds(t *testing.T) {
	const soon = 250 * time.Millisecond
	for _, tt := range []struct {
		name   string
		do     func(l *live)
		within time.Duration
	}{
		{"drain", func(l *live) { l.Drain() }, 0},
		{"draining by its health", func(l *live) { l.health.draining.Store(true) }, 15 * time.Second},
		{"token revoked", func(l *live) {
			l.authn.revoke("ada")
			l.publish(func(*view.Builder) {})
		}, soon},
		{"gateway deleted", func(l *live) { l.publish(func(b *view.Builder) { b.DeleteGateway("full") }) }, soon},
		{"user deactivated", func(l *live) {
			l.publish(func(b *view.Builder) {
				b.PutUser("ada@example.com", &view.User{Name: "ada@example.com", UID: "u-ada", Deactivated: true})
			})
		}, soon},
		{"authenticator away", func(l *live) {
			l.authn.fail(fault.New(fault.Unavailable, "AWAY", "Away."))
			l.publish(func(*view.Builder) {})
		}, soon},
		{"token expired", func(l *live) {
			l.authn.expire("ada", time.Now().Add(10*time.Minute))
			l.publish(func(*view.Builder) {}) // by which the stream learns of the end
			time.Sleep(10*time.Minute - time.Second)
		}, 5 * time.Second},
		{"configuration too old", func(l *live) {
			l.publish(func(b *view.Builder) {
				g := *l.holder.Load().Gateway("full")
				g.MaxStale = time.Minute
				b.PutGateway(gateway(g.Gateway, g.Tools...))
			})
			<-l.calls.left
			<-l.calls.watched
			l.health.stale.Store(int64(2 * time.Minute))
		}, 15 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFull(t, options{}, func(_ *testing.T, l *live) {
				s := l.listen("1", `"toolsListChanged":true`, `"toolsListChanged":true`)
				tt.do(l)
				l.wantResult(s, "1", tt.within)
			})
		})
	}
}

// TestListenCancelled is M-31: a client that goes cancels what is watched for it, and gives its seat back.
func TestListenCancelled(t *testing.T) {
	limits := edge.Settings{Loopback: true, PublicURLs: []string{"https://gw.example.com"}, Limits: edge.Limits{Streams: 2}}
	inFull(t, options{settings: limits}, func(t *testing.T, l *live) {
		ctx, leave := context.WithCancel(t.Context())
		first, err := l.subscribe(ctx, "1", "")
		if err != nil {
			t.Fatal(err)
		}
		defer first.Body.Close()
		second := l.listen("2", "", "")
		third, err := l.subscribe(t.Context(), "3", "")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(third.Body)
		_ = third.Body.Close()
		if third.StatusCode != http.StatusTooManyRequests || third.Header.Get("Retry-After") != "1" {
			t.Errorf("a stream too many: %d %s", third.StatusCode, text)
		}
		leave()
		<-l.calls.left
		synctest.Wait()
		again := l.listen("4", "", "")
		l.Drain()
		l.wantResult(second, "2", 0)
		l.wantResult(again, "4", 0)
	})
}

// TestListenKeepsAlive is M-19: a comment every 15 s.
func TestListenKeepsAlive(t *testing.T) {
	inFull(t, options{}, func(t *testing.T, l *live) {
		s := l.listen("1", "", "")
		time.Sleep(time.Hour + time.Second)
		if got, want := len(s.lines), 240; got != want {
			t.Errorf("%d comments in an hour, want %d", got, want)
		}
		s.quiet()
		l.Drain()
		l.wantResult(s, "1", 0)
	})
}

// TestListenSlowReader is M-20: a client that does not read holds no more than the queue, whoever tells is never made to
// wait, and the stream is closed.
func TestListenSlowReader(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		times         int
		closed        bool
	}{
		{"resources updated", `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://%d"}}`, 2000, true},
		{"large messages", `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://%d","x":"` + strings.Repeat("x", 100<<10) + `"}}`, 20, true},
		{"list_changed gives way to newer", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"n":%d}}`, 2000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFull(t, options{}, func(t *testing.T, l *live) {
				resp, err := l.subscribe(t.Context(), "1", everything)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				<-l.calls.watched
				from := time.Now()
				closed := false
				for n := 0; n < tt.times && !closed; n++ {
					select {
					case l.calls.told <- fmt.Sprintf(tt.message, n):
					case <-l.calls.left: // the stream was closed already
						closed = true
					}
				}
				if took := time.Since(from); took != 0 {
					t.Errorf("telling took %v", took)
				}
				if !tt.closed {
					s := l.follow(resp, nil)
					last := ""
					for !strings.Contains(last, fmt.Sprintf(`"n":%d`, tt.times-1)) {
						if last = s.next(); strings.HasPrefix(last, "ended") {
							t.Fatalf("the stream %s", last)
						}
					}
					l.Drain()
					l.wantResult(s, "1", 0)
					return
				}
				if !closed {
					<-l.calls.left
				}
				if took := time.Since(from); took > 31*time.Second {
					t.Errorf("the stream was closed after %v", took)
				}
				text, err := io.ReadAll(resp.Body)
				if len(text) > 300<<10 || strings.Contains(string(text), `"result"`) {
					t.Errorf("the client got %d bytes of a stream that was closed (%v)", len(text), err)
				}
			})
		})
	}
}

// TestListenBreaks: a panic of what watches ends that stream, without a result, and no more.
func TestListenBreaks(t *testing.T) {
	inFull(t, options{}, func(t *testing.T, l *live) {
		s := l.listen("1", "", "")
		l.calls.told <- "panic"
		s.wantEnd(0)
		again := l.listen("2", "", "")
		l.Drain()
		l.wantResult(again, "2", 0)
	})
}
