// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// event is one event of a stream.
type event struct{ id, data string }

// events reads a stream event by event, ids and all.
type events struct {
	t    *testing.T
	scan *bufio.Scanner
	body io.Closer
}

func (l *live) events(resp *http.Response, err error) *events {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(resp.Body)
		l.t.Fatalf("stream: %d %s", resp.StatusCode, text)
	}
	return &events{l.t, bufio.NewScanner(resp.Body), resp.Body}
}

// next returns the next event; false at the end of the stream.
func (e *events) next() (got event, ok bool) {
	e.t.Helper()
	for e.scan.Scan() {
		line := e.scan.Text()
		switch name, value, _ := strings.Cut(line, ": "); {
		case line == "" && ok:
			return got, true
		case name == "id":
			got.id, ok = value, true
		case name == "data":
			got.data, ok = value, true
		}
	}
	return got, false
}

// want fails unless the next event has the data, and returns its id.
func (e *events) want(part string) string {
	e.t.Helper()
	got, ok := e.next()
	if !ok || !strings.Contains(got.data, part) {
		e.t.Fatalf("the stream has %+v (%v), want %s", got, ok, part)
	}
	return got.id
}

// wantEnd fails unless the stream has ended.
func (e *events) wantEnd() {
	e.t.Helper()
	if got, ok := e.next(); ok {
		e.t.Errorf("the stream has %+v, want its end", got)
	}
	_ = e.body.Close()
}

// leave closes the connection and waits until the node knows.
func (e *events) leave() {
	_ = e.body.Close()
	synctest.Wait()
}

// resume comes back for what follows an event.
func (l *live) resume(session, id string) *events {
	l.t.Helper()
	return l.events(l.send(l.t.Context(), http.MethodGet, "", session, "Last-Event-ID: "+id)) //nolint:bodyclose // leave and wantEnd close it
}

// cannotResume fails unless the event is refused: 400, since 404 would end the session.
func (l *live) cannotResume(what, session, id string) {
	l.t.Helper()
	got := l.do(http.MethodGet, "", session, "Last-Event-ID: "+id)
	if got.status != http.StatusBadRequest || !strings.Contains(got.text, `"error":{"code":-32600`) {
		l.t.Errorf("%s: %+v, want 400", what, got)
	}
}

// steps starts a call whose upstream says what is fed to it, as progress, and ends when that is closed.
func (l *live) steps(session string) *events {
	l.t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"steps","_meta":{"progressToken":"p"}}}`
	return l.events(l.send(l.t.Context(), http.MethodPost, body, session)) //nolint:bodyclose // leave and wantEnd close it
}

func step(n int) string { return fmt.Sprintf(`"progressToken":"p","progress":%d`, n) }

func legacyVersions() []string { return []string{"2024-11-05", "2025-03-26", "2025-06-18", newest} }

// TestResumeCall is M-39, M-40 and M-41: a client that lost the stream of a call comes back for the rest, as often as it
// likes, from any event that it has seen; the call goes on meanwhile.
func TestResumeCall(t *testing.T) {
	for _, version := range legacyVersions() {
		t.Run(version, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				s := l.open(version)
				get := l.get(s)
				feed := l.calls.feed()
				feed <- 1
				call := l.steps(s)
				first := ""
				if version == newest {
					first = call.want("")
				}
				one := call.want(step(1))
				call.leave()
				feed <- 2
				feed <- 3
				synctest.Wait()

				again := l.resume(s, one)
				two := again.want(step(2))
				three := again.want(step(3))
				feed <- 4
				again.want(step(4))
				again.leave()
				feed <- 5
				close(feed)
				synctest.Wait()

				seen := map[string]bool{one: true, two: true, three: true}
				if len(seen) != 3 {
					t.Errorf("ids %v", seen)
				}
				last := l.resume(s, two)
				for n := 3; n <= 5; n++ {
					last.want(step(n))
				}
				response := last.want(`"id":1,"result"`)
				last.wantEnd()
				if first != "" {
					whole := l.resume(s, first)
					whole.want(step(1))
					_ = whole.body.Close()
				}
				l.resume(s, response).wantEnd() // nothing is missing, and nothing follows
				get.quiet()                     // never another stream's messages (M-38)
				_ = get.resp.Body.Close()
				<-get.ended
			})
		})
	}
}

// TestResumeTakesOver is M-38: of the connections that are open for one stream the newest has it, and alone. That of the
// call itself ends with the call.
func TestResumeTakesOver(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		feed := l.calls.feed()
		feed <- 1
		call := l.steps(s)
		call.want("")
		one := call.want(step(1))
		second := l.resume(s, one)
		synctest.Wait()
		feed <- 2
		two := second.want(step(2))
		third := l.resume(s, two)
		second.wantEnd()
		feed <- 3
		close(feed)
		third.want(step(3))
		third.want(`"id":1,"result"`)
		third.wantEnd()
		call.wantEnd()
	})
}

// TestCannotResume is M-40 and M-90: what nobody was sent, what belongs to others, what is too long ago.
func TestCannotResume(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		ctx, stop := context.WithCancel(t.Context())
		swept := make(chan error, 1)
		go func() { swept <- l.sessions.Run(ctx) }()
		s, other := l.open(newest), l.open(newest)
		feed := l.calls.feed()
		feed <- 1
		close(feed)
		call := l.steps(s)
		prime := call.want("")
		one := call.want(step(1))
		two := call.want(`"id":1,"result"`)
		call.wantEnd()
		number := regexp.MustCompile(`[0-9]+$`)
		l.cannotResume("an event that was not sent", s, number.ReplaceAllString(two, "3"))
		l.cannotResume("another session", other, one)
		l.cannotResume("a stream that is not there", s, "x-1")
		if got := l.do(http.MethodGet, "", s, "Last-Event-ID: "+one, "Authorization: Bearer bob"); got.status != http.StatusForbidden {
			t.Errorf("another principal: %+v", got)
		}
		time.Sleep(4 * time.Minute)
		l.resume(s, one).leave()
		time.Sleep(3 * time.Minute)
		l.cannotResume("after five minutes", s, one)
		l.cannotResume("its beginning", s, prime)

		feed = l.calls.feed()
		feed <- 0
		call = l.steps(s)
		call.want("")
		first := call.want(step(0))
		call.leave()
		for n := range 300 {
			feed <- n + 1
		}
		close(feed)
		synctest.Wait()
		l.cannotResume("more than 256 events later", s, first)
		late := l.resume(s, number.ReplaceAllString(first, "46")) // of 302, 256 are kept
		late.want(step(46))
		_ = late.body.Close()
		if got := l.do(http.MethodPost, callBody("9", "echo"), s); got.status != http.StatusOK {
			t.Errorf("the session after that: %+v", got)
		}
		stop()
		if err := <-swept; err != nil {
			t.Error(err)
		}
	})
}

// TestResumeSessionStream is M-38, M-39 and M-40: the session's own stream goes on where it was, and primes newer clients
// only.
func TestResumeSessionStream(t *testing.T) {
	for _, version := range legacyVersions() {
		t.Run(version, func(t *testing.T) {
			inBubble(t, options{}, func(t *testing.T, l *live) {
				s := l.open(version)
				tell := func(n int) {
					t.Helper()
					all := l.calls.listeners()
					if len(all) != 1 {
						t.Fatalf("%d listen", len(all))
					}
					all[0].deliver(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://%d"}}`, n))
				}
				get := l.events(l.send(t.Context(), http.MethodGet, "", s)) //nolint:bodyclose // leave closes it
				synctest.Wait()
				tell(1)
				if version == newest {
					get.want("")
				}
				one := get.want("test://1")
				tell(2)
				get.leave()
				again := l.resume(s, one)
				two := again.want("test://2")
				synctest.Wait()
				tell(3)
				three := again.want("test://3")
				if one == two || two == three || one == three {
					t.Errorf("ids %s, %s, %s", one, two, three)
				}
				fresh := l.events(l.send(t.Context(), http.MethodGet, "", s)) //nolint:bodyclose // leave closes it
				again.wantEnd()
				synctest.Wait()
				tell(4)
				if version == newest {
					fresh.want("")
				}
				if four := fresh.want("test://4"); strings.HasPrefix(four, strings.TrimRight(three, "0123456789")) {
					t.Errorf("a new stream has the id %s after %s", four, three)
				}
				fresh.leave()
			})
		})
	}
}

// TestResumedStreamOfRevoked is M-21: the rest of a call's stream outlives the expiry of its token, not its revocation.
func TestResumedStreamOfRevoked(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open(newest)
		feed := l.calls.feed()
		feed <- 1
		call := l.steps(s)
		call.want("")
		one := call.want(step(1))
		l.authn.expire("ada", time.Now().Add(10*time.Second))
		again := l.follow(l.send(t.Context(), http.MethodGet, "", s, "Last-Event-ID: "+one)) //nolint:bodyclose // follow closes it
		time.Sleep(time.Minute)
		feed <- 2
		if got := again.message(); !strings.Contains(got, step(2)) {
			t.Errorf("after the token has expired the stream has %s", got)
		}
		l.publish(func(b *view.Builder) { b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng"}) })
		again.wantEnd(5 * time.Second)
		close(feed)
		_ = call.body.Close()
	})
}

// TestHTTPSSEHasNoIDs is M-39 and M-44: the events of HTTP+SSE have no ids, whatever the version, and nothing primes it.
func TestHTTPSSEHasNoIDs(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		e := l.events(l.send(t.Context(), http.MethodGet, "", "Accept: text/event-stream")) //nolint:bodyclose // leave closes it
		endpoint, _ := e.next()
		for _, m := range []string{`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`} {
			if got := l.read(l.sendTo(t.Context(), endpoint.data, http.MethodPost, m)); got.status != http.StatusAccepted {
				t.Fatalf("%s: %+v", m, got)
			}
			if got, ok := e.next(); !ok || got.id != "" || !strings.Contains(got.data, `"result"`) {
				t.Errorf("%s is answered with %+v", m, got)
			}
		}
		if endpoint.id != "" {
			t.Errorf("the endpoint has the id %s", endpoint.id)
		}
		e.leave()
	})
}
