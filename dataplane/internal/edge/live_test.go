// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// live is a real HTTP server and client that talk over memory, so that they run on the clock of a synctest bubble.
type live struct {
	*world
	t      *testing.T
	client *http.Client

	gateway string // eng unless set
}

// memory is a listener whose connections are pipes.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { close(m.done); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// inBubble runs f against a handler behind a server, in fake time.
func inBubble(t *testing.T, o options, f func(t *testing.T, l *live)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &live{world: newWorld(t, o), t: t}
		listener := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: l}
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			select {
			case listener.conns <- there:
				return here, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		l.client = &http.Client{Transport: transport}
		f(t, l)
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// send starts a request; headers are "Name: value".
func (l *live) send(ctx context.Context, method, body string, headers ...string) (*http.Response, error) {
	return l.sendTo(ctx, "/v1/mcp/"+cmp.Or(l.gateway, "eng"), method, body, headers...)
}

// sendTo is send to another path.
func (l *live) sendTo(ctx context.Context, path, method, body string, headers ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer ada")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return l.client.Do(r)
}

// reply is a response that was read to its end.
type reply struct {
	status int
	header http.Header
	text   string
}

// do is send for requests that are answered.
func (l *live) do(method, body string, headers ...string) reply {
	l.t.Helper()
	return l.read(l.send(l.t.Context(), method, body, headers...))
}

// read takes a response in.
func (l *live) read(resp *http.Response, err error) reply {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Error(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// refusal is read for streams that are to be refused: one that is opened would not end.
func (l *live) refusal(resp *http.Response, err error) reply {
	l.t.Helper()
	if err == nil && resp.StatusCode == http.StatusOK {
		_ = resp.Body.Close()
		return reply{status: resp.StatusCode, header: resp.Header}
	}
	return l.read(resp, err)
}

// open starts a session and returns its header.
func (l *live) open(version string) string {
	l.t.Helper()
	got := l.do(http.MethodPost, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":{}}}`)
	if got.status != http.StatusOK {
		l.t.Fatalf("initialize: %+v", got)
	}
	return "Mcp-Session-Id: " + got.header.Get("Mcp-Session-Id")
}

func callBody(id, tool string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + tool + `"}}`
}

func modernCall(tool string) (body string, headers []string) {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `",` + metaModel + `}}`,
		[]string{"MCP-Protocol-Version: " + modern, "Mcp-Method: tools/call", "Mcp-Name: " + tool}
}

// answered is what a request in the background came to.
type answered struct {
	status int
	kind   string
	body   string
	after  time.Duration
	err    error
}

// background sends a request and returns where its answer will be.
func (l *live) background(ctx context.Context, body string, headers ...string) <-chan answered {
	out := make(chan answered, 1)
	start := time.Now()
	go func() {
		resp, err := l.send(ctx, http.MethodPost, body, headers...)
		if err != nil {
			out <- answered{err: err, after: time.Since(start)}
			return
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		out <- answered{resp.StatusCode, resp.Header.Get("Content-Type"), string(b), time.Since(start), err}
	}()
	return out
}

// stream is an open stream; lines are those of the body, but for ids and the event that a session's stream begins with.
type stream struct {
	t     *testing.T
	lines chan string
	start time.Time
	ended chan time.Duration
	resp  *http.Response
}

func (l *live) get(headers ...string) *stream {
	l.t.Helper()
	return l.follow(l.send(l.t.Context(), http.MethodGet, "", headers...)) //nolint:bodyclose // follow closes it
}

// follow reads the stream that a request was answered with.
func (l *live) follow(resp *http.Response, err error) *stream {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	if h := resp.Header; resp.StatusCode != http.StatusOK || h.Get("Content-Type") != "text/event-stream" ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" {
		l.t.Fatalf("stream: %d %v", resp.StatusCode, h)
	}
	s := &stream{t: l.t, lines: make(chan string, 1000), start: time.Now(), ended: make(chan time.Duration, 1), resp: resp}
	go func() {
		scan, id := bufio.NewScanner(resp.Body), false
		for scan.Scan() {
			line := scan.Text()
			priming := id && line == "retry: 1000" // and its data is empty (M-39)
			id = strings.HasPrefix(line, "id: ")
			if line != "" && line != "data: " && !id && !priming {
				s.lines <- line
			}
		}
		_ = resp.Body.Close()
		s.ended <- time.Since(s.start)
	}()
	return s
}

// quiet fails if anything but comments came.
func (s *stream) quiet() {
	s.t.Helper()
	synctest.Wait()
	for {
		select {
		case line := <-s.lines:
			if !strings.HasPrefix(line, ":") {
				s.t.Errorf("the stream has %q", line)
			}
		case after := <-s.ended:
			s.t.Errorf("the stream ended after %v", after)
			return
		default:
			return
		}
	}
}

const listChanged = `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`

// next waits for the next line that is no comment.
func (s *stream) next() string {
	s.t.Helper()
	late := time.After(time.Hour) // comments come for as long as the stream is open
	for {
		select {
		case <-late:
			return "nothing for an hour"
		case line := <-s.lines:
			if !strings.HasPrefix(line, ":") {
				return line
			}
		case after := <-s.ended:
			if len(s.lines) == 0 {
				return fmt.Sprintf("ended after %v", after)
			}
			s.ended <- after // lines that came before are first
		}
	}
}

// wantEnd fails unless the stream ends within d, without another line but comments.
func (s *stream) wantEnd(d time.Duration) {
	s.t.Helper()
	from, late := time.Now(), time.After(time.Hour+d)
	for {
		select {
		case line := <-s.lines:
			if !strings.HasPrefix(line, ":") {
				s.t.Errorf("the stream has %q", line)
			}
		case <-s.ended:
			if took := time.Since(from); took > d {
				s.t.Errorf("the stream ended after %v, want within %v", took, d)
			}
			return
		case <-late:
			s.t.Fatal("the stream goes on")
		}
	}
}

// withTools publishes eng with other tools.
func (l *live) withTools(revision uint64, tools ...*view.Tool) {
	b := view.From(l.holder.Load().View)
	b.PutGateway(engGateway(tools...))
	l.holder.Publish(b.Build("e", revision))
}
