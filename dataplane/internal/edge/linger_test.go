// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

func updatedAt(uri string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, uri)
}

// lost reads the id of the stream's priming event, then breaks its connection.
func (l *live) lost(s string) (id string) {
	l.t.Helper()
	resp, err := l.send(l.t.Context(), http.MethodGet, "", s)
	if err != nil {
		l.t.Fatal(err)
	}
	var head [256]byte
	n, err := resp.Body.Read(head[:])
	if err != nil {
		l.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(head[:n]), "id: ")
	id, _, _ = strings.Cut(rest, "\n")
	_ = resp.Body.Close()
	synctest.Wait()
	return id
}

// TestStreamLingers is M-40: what an upstream says, and what changes, while a client has lost its stream reaches it once when it
// is back; the upstream is heard for no longer than that takes.
func TestStreamLingers(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open("2025-11-25")
		tell := func(uri string) {
			t.Helper()
			all := l.calls.listeners()
			if len(all) != 1 {
				t.Fatalf("%d listen", len(all))
			}
			all[0].deliver([]byte(updatedAt(uri)))
		}
		id := l.lost(s)
		tell("test://1")
		l.withTools(2)
		tell("test://2")
		time.Sleep(session.Lingering - time.Second)
		back := l.get(s, "Last-Event-ID: "+id)
		synctest.Wait()
		tell("test://3")
		for _, want := range []string{updatedAt("test://1"), updatedAt("test://2"), strings.TrimPrefix(listChanged, "data: "), updatedAt("test://3")} {
			if got := back.message(); got != want {
				t.Errorf("the stream has %s, want %s", got, want)
			}
		}
		back.quiet()
		_ = back.resp.Body.Close()
		<-back.ended
		time.Sleep(session.Lingering + time.Second)
		if n := len(l.calls.listeners()); n != 0 {
			t.Errorf("%d listen for a client that has not come back", n)
		}
	})
}

// TestNewStreamTakesTheRest is M-38: what an older stream can not keep any more goes to the one that takes its place.
func TestNewStreamTakesTheRest(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		s := l.open("2025-11-25")
		l.lost(s)
		old := l.calls.listeners()[0]
		next := l.get(s)
		synctest.Wait()
		old.deliver([]byte(updatedAt("test://late"))) // it was on its way
		if got := next.message(); got != updatedAt("test://late") {
			t.Errorf("the new stream has %s", got)
		}
		_ = next.resp.Body.Close()
	})
}

// TestNothingLingers is RS-11: of a stream that was ended for its caller's sake nothing goes on.
func TestNothingLingers(t *testing.T) {
	inBubble(t, options{}, func(t *testing.T, l *live) {
		get := l.get(l.open("2025-11-25"))
		synctest.Wait()
		l.authn.revoke("ada")
		l.withTools(2, engTools()...)
		get.wantEnd(time.Second)
		synctest.Wait()
		if n := len(l.calls.listeners()); n != 0 {
			t.Errorf("%d listen", n)
		}
	})
}
