// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestListChanged is M-71 and G-17: a change of what the caller sees is told within 250 ms, once, and nothing else is.
func TestListChanged(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		get := l.get(l.open(newest))
		revision := uint64(1)
		publish := func(tools ...*view.Tool) {
			revision++
			l.withTools(revision, tools...)
		}
		same := engTools()
		for _, c := range []struct {
			name   string
			change func()
			told   bool
		}{
			{"the same tools compiled anew", func() { publish(same...) }, false},
			{"one less", func() { publish(same[1:]...) }, true},
			{"another definition", func() {
				publish(append([]*view.Tool{tool("echo2", `{"type":"object","title":"x"}`)}, same[1:]...)...)
			}, true},
			{"held, still listed (G-16)", func() {
				held := tool(same[2].Exposed, anyObject)
				held.Held = true
				publish(append([]*view.Tool{tool("echo2", `{"type":"object","title":"x"}`), same[1], held}, same[3:]...)...)
			}, false},
			{"another description", func() {
				described := tool(same[2].Exposed, anyObject)
				described.Description = "better"
				publish(append([]*view.Tool{tool("echo2", `{"type":"object","title":"x"}`), same[1], described}, same[3:]...)...)
			}, true},
			{"a denial ahead of its revision", func() {
				l.holder.Deny(revision+1, []view.Key{{Kind: "tool", Name: "srv/fail"}})
			}, true},
			{"the revision with what was denied", func() {
				publish(append([]*view.Tool{tool("echo2", `{"type":"object","title":"x"}`)}, same[3:]...)...)
			}, true}, // the description and one more tool went, too
			{"another gateway", func() {
				b := view.From(l.holder.Load().View)
				b.DeleteGateway("sales")
				revision++
				l.holder.Publish(b.Build("e", revision))
			}, false},
			{"many at once", func() {
				for n := range 10 {
					publish(same[n:]...)
				}
			}, true},
		} {
			from := time.Now()
			c.change()
			if c.told {
				for _, want := range []string{"event: message", listChanged} {
					if got := get.next(); got != want {
						t.Errorf("%s: the stream has %q, want %q", c.name, got, want)
					}
				}
				if took := time.Since(from); took > 250*time.Millisecond {
					t.Errorf("%s: told after %v", c.name, took)
				}
			}
			time.Sleep(time.Second)
			get.quiet()
		}
		_ = get.resp.Body.Close()
	})
}

// TestStreamsSpread: not all streams are told at the same moment.
func TestStreamsSpread(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		var all []*stream
		for range 20 {
			all = append(all, l.get(l.open(newest)))
		}
		from := time.Now()
		l.withTools(2)
		moments := map[time.Duration]bool{}
		for range 250 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for _, s := range all {
				select {
				case <-s.lines:
					moments[time.Since(from)] = true
				default:
				}
			}
		}
		if len(moments) < 5 {
			t.Errorf("20 streams were told at %d moments: %v", len(moments), moments)
		}
		for _, s := range all {
			_ = s.resp.Body.Close()
		}
	})
}

// TestStreamKeepsAlive is M-19: a comment every 15 s; and M-38: it is not idle, so the session lives on.
func TestStreamKeepsAlive(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.sessions.Run(ctx) }()
		get := l.get(l.open(newest))
		time.Sleep(time.Hour + time.Second)
		if got, want := len(get.lines), 240; got != want {
			t.Errorf("%d comments in an hour, want %d", got, want)
		}
		get.quiet()
		_ = get.resp.Body.Close()
		<-get.ended
		synctest.Wait()
		time.Sleep(32 * time.Minute)
		if n := l.sessions.Count(); n != 0 {
			t.Errorf("%d sessions are left half an hour after the stream", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestStreamEnds is M-21, RS-11, M-38, M-95: what ends a GET stream, and how soon.
func TestStreamEnds(t *testing.T) {
	const soon = 250 * time.Millisecond
	publish := func(l *live, change func(b *view.Builder)) {
		b := view.From(l.holder.Load().View)
		change(b)
		l.holder.Publish(b.Build("e", l.holder.Load().Revision+1))
	}
	for _, tt := range []struct {
		name   string
		do     func(t *testing.T, l *live, session string)
		within time.Duration
	}{
		{"token revoked", func(_ *testing.T, l *live, _ string) {
			l.authn.revoke("ada")
			publish(l, func(*view.Builder) {})
		}, soon},
		{"user deactivated", func(_ *testing.T, l *live, _ string) {
			publish(l, func(b *view.Builder) {
				b.PutUser("ada@example.com", &view.User{Name: "ada@example.com", UID: "u-ada", Deactivated: true})
			})
		}, soon},
		{"user left the team", func(_ *testing.T, l *live, _ string) {
			publish(l, func(b *view.Builder) { b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng"}) })
		}, soon},
		{"denied ahead of its revision", func(_ *testing.T, l *live, _ string) {
			l.holder.Deny(2, []view.Key{{Kind: "team_member", Name: "eng/ada@example.com"}})
		}, soon},
		{"gateway deleted", func(_ *testing.T, l *live, _ string) {
			publish(l, func(b *view.Builder) { b.DeleteGateway("eng") })
		}, soon},
		{"authenticator away", func(_ *testing.T, l *live, _ string) {
			l.authn.fail(fault.New(fault.Unavailable, "AWAY", "Away."))
			publish(l, func(*view.Builder) {})
		}, soon},
		{"a newer stream", func(_ *testing.T, l *live, s string) { _ = l.get(s).resp.Body.Close() }, 0},
		{"configuration too old", func(_ *testing.T, l *live, _ string) {
			publish(l, func(b *view.Builder) {
				g := engGateway(engTools()...)
				g.MaxStale = time.Minute
				b.PutGateway(g)
			})
			time.Sleep(time.Second)
			l.health.stale.Store(int64(2 * time.Minute))
		}, 15 * time.Second},
		{"node draining by its health", func(_ *testing.T, l *live, _ string) { l.health.draining.Store(true) }, 15 * time.Second},
		{"24 hours", func(*testing.T, *live, string) { time.Sleep(24*time.Hour - 5*time.Second) }, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				s := l.open(newest)
				get := l.get(s)
				synctest.Wait()
				tt.do(t, l, s)
				get.wantEnd(tt.within)
			})
		})
	}
}

// TestStreamEndsWithToken is RS-11 and N139: the token expires, and nothing changes in the configuration.
func TestStreamEndsWithToken(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		l.authn.expire("ada", time.Now().Add(10*time.Minute))
		get := l.get(l.open(newest))
		time.Sleep(10*time.Minute - time.Second)
		get.quiet()
		get.wantEnd(6 * time.Second)
	})
}

// TestTokenRenewed: a stream follows a token whose end moves.
func TestTokenRenewed(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		l.authn.expire("ada", time.Now().Add(10*time.Minute))
		get := l.get(l.open(newest))
		l.authn.expire("ada", time.Now().Add(20*time.Minute))
		time.Sleep(15 * time.Minute)
		get.quiet()
		get.wantEnd(5*time.Minute + 5*time.Second)
	})
}

// TestDrain is M-95 and M-42: GET streams are asked to come back, calls in flight finish on their streams, and requests that
// still come on an open connection are served.
func TestDrain(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		get := l.get(s)
		answer := l.background(t.Context(), callBody("1", "wait"), s)
		<-l.calls.started
		time.Sleep(6 * time.Second) // by then the answer is a stream
		get.quiet()
		l.Drain()
		if got := get.next(); got != "retry: 1000" {
			t.Errorf("the stream has %q, want a time to reconnect", got)
		}
		get.wantEnd(0)
		if got := l.do(http.MethodPost, callBody("2", "echo"), s); got.status != http.StatusOK {
			t.Errorf("a new call while draining: %+v", got)
		}
		time.Sleep(10 * time.Second)
		if len(answer) != 0 {
			t.Errorf("the stream of the call in flight is closed early: %+v", <-answer)
		}
		l.calls.release <- struct{}{}
		if got := <-answer; got.kind != "text/event-stream" || got.status != http.StatusOK || !strings.Contains(got.body, `"content"`) {
			t.Errorf("the call in flight: %+v", got)
		}
	})
}

// TestRunningCallOfExpired is M-21: after its token has expired, a call goes on for as long as its caller may use the
// gateway.
func TestRunningCallOfExpired(t *testing.T) {
	for name, change := range map[string]func(b *view.Builder){
		"left the team":   func(b *view.Builder) { b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng"}) },
		"gateway deleted": func(b *view.Builder) { b.DeleteGateway("eng") },
		"user deactivated": func(b *view.Builder) {
			b.PutUser("ada@example.com", &view.User{Name: "ada@example.com", Deactivated: true})
		},
		"gateway disabled": func(b *view.Builder) {
			g := engGateway(engTools()...)
			g.Disabled = true
			b.PutGateway(g)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				body, headers := modernCall("wait")
				l.authn.expire("ada", time.Now().Add(10*time.Second))
				answer := l.background(t.Context(), body, headers...)
				time.Sleep(time.Minute)
				l.publish(func(b *view.Builder) { b.DeleteGateway("sales") })
				time.Sleep(time.Minute)
				if len(l.calls.ended) != 0 {
					t.Fatal("a change that takes nothing away ends the call")
				}
				l.publish(change)
				select {
				case cause := <-l.calls.ended:
					if cause == nil || errors.Is(cause, context.Canceled) {
						t.Errorf("the call ended with %v", cause)
					}
				case <-time.After(5 * time.Second):
					t.Error("the call goes on")
					l.calls.release <- struct{}{}
				}
				if got := <-answer; strings.Contains(got.body, "event: message") {
					t.Errorf("the answer is %+v", got)
				}
			})
		})
	}
}

// TestRunningCallOfRevoked is M-21: a call's stream outlives the expiry of its token, not its revocation.
func TestRunningCallOfRevoked(t *testing.T) {
	for _, era := range []string{"legacy", "modern", "batch"} {
		t.Run(era, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				body, headers := modernCall("wait")
				switch era {
				case "legacy":
					body, headers = callBody("1", "wait"), []string{l.open(newest)}
				case "batch":
					body, headers = "["+callBody("1", "wait")+"]", []string{l.open("2025-03-26")}
				}
				l.authn.expire("ada", time.Now().Add(10*time.Second))
				expired := l.background(t.Context(), body, headers...)
				time.Sleep(time.Minute)
				l.withTools(2, engTools()...)
				time.Sleep(time.Minute)
				l.calls.release <- struct{}{}
				if got := <-expired; !strings.Contains(got.body, `"content":[]`) {
					t.Errorf("a call that outlives its token: %+v", got)
				}
				if cause := <-l.calls.ended; cause != nil {
					t.Errorf("the call that outlives its token ended with %v", cause)
				}

				l.authn.expire("ada", time.Time{})
				revoked := l.background(t.Context(), body, headers...)
				time.Sleep(10 * time.Second)
				l.withTools(3, engTools()...)
				time.Sleep(10 * time.Second)
				if len(l.calls.ended) != 0 {
					t.Fatal("a change that takes nothing away ends the call")
				}
				l.authn.revoke("ada")
				l.withTools(4, engTools()...)
				from := time.Now()
				got := <-revoked
				if took := time.Since(from); took > 5*time.Second || strings.Contains(got.body, "event: message") {
					t.Errorf("a call whose token was revoked ends %v later with %+v", took, got)
				}
				if cause := <-l.calls.ended; cause == nil || errors.Is(cause, context.Canceled) {
					t.Errorf("the call ended with %v", cause)
				}
			})
		})
	}
}
