// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFollow: what each answer to GET leads to. An answer is a status, or the
// text of a stream; "hold" keeps the stream open.
func TestFollow(t *testing.T) {
	const one, two = "id: 1\nretry: 1\ndata: one\n\n", "id: 2\ndata: two\n\n"
	refused := errors.New("refused")
	tests := []struct {
		name    string
		answers []string
		asked   string // Last-Event-ID of each, "-" for none
		got     string
		err     error
	}{
		{"no such stream", []string{"405"}, "-", "", ErrNone},
		{"no GET at all", []string{"404"}, "-", "", ErrNone},
		{"no stream but a page", []string{"200"}, "-", "", ErrNone},
		{"not implemented", []string{"501"}, "-", "", ErrNone},
		{"credential", []string{"401"}, "-", "", ErrRefused},
		{"forbidden", []string{"403"}, "-", "", ErrRefused},
		{"ended session", []string{one, "404"}, "- 1", "one", ErrGone},
		{"resumed", []string{one, two, "404"}, "- 1 2", "one two", ErrGone},
		{"resuming refused", []string{one, "400", two, "404"}, "- 1 - 2", "one two", ErrGone},
		{"down for a while", []string{"503", "409", one, "404"}, "- - - 1", "one", ErrGone},
		{"a message too large", []string{one + "data: " + strings.Repeat("x", 2000) + "\n\n", "405"}, "- 1", "one", ErrNone},
		{"only messages count", []string{"event: other\ndata: x\n\n: hi\n\ndata:\n\n" + one, "405"}, "- 1", "one", ErrNone},
		{"refused by the handler", []string{one + "data: stop\n\nhold"}, "-", "one stop", refused},
		{"given up", []string{one + "data: leave\n\nhold"}, "-", "one leave", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked, got []string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				id := r.Header.Get("Last-Event-Id")
				if id == "" {
					id = "-"
				}
				text := tt.answers[len(asked)]
				asked = append(asked, id)
				var status int
				if n, _ := fmt.Sscanf(text, "%3d", &status); n == 1 {
					w.WriteHeader(status)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				text, hold := strings.CutSuffix(text, "hold")
				_, _ = io.WriteString(w, text)
				w.(http.Flusher).Flush()
				if hold {
					<-r.Context().Done()
				}
			}))
			defer web.Close()
			client, err := httpclient.New(httpclient.Config{Dial: (&net.Dialer{}).DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			to, err := httpclient.ParseEndpoint(web.URL)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			x := &exchange.Exchange{Peer: exchange.Peer{HTTP: client, To: to, Pool: "p", Limit: 1 << 10}}
			err = Follow(ctx, x, Handler{Message: func(text []byte) error {
				got = append(got, string(text))
				switch string(text) {
				case "stop":
					return refused
				case "leave":
					cancel()
				}
				return nil
			}})
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if a, g := strings.Join(asked, " "), strings.Join(got, " "); a != tt.asked || g != tt.got {
				t.Errorf("asked %q, want %q; got %q, want %q", a, tt.asked, g, tt.got)
			}
		})
	}
}
