// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Tools of a witness. Each takes "token", which names the call in the journal and is what it answers.
const (
	Once  = "once"  // runs each time it is called, for delay_ms; it must not run twice for one call
	Look  = "look"  // the same, but annotated as read-only and idempotent
	Steps = "steps" // sends "steps" progress notifications, one each every_ms
	Tell  = "tell"  // after its answer, sends "steps" notices to its session, one each every_ms; only with sessions
)

// SecretHeader is what a witness with a secret wants to see.
const SecretHeader = "X-Api-Key"

// Config says what a witness does.
type Config struct {
	Journal  *Journal
	Sessions bool   // be a server of the legacy era that keeps sessions; else one of both eras, made with mcp-go, that keeps none
	Secret   string // refuse requests without it; empty refuses none
}

// Witness is a running server.
type Witness struct {
	URL string

	journal *Journal
	http    *http.Server
	ctx     context.Context //nolint:containedctx // what was told to be sent goes on after its call
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// Start starts a witness on a free loopback port.
func Start(ctx context.Context, c Config) (*Witness, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Witness{URL: "http://" + l.Addr().String() + "/mcp", journal: c.Journal}
	w.ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx)) // Close ends it
	var handler http.Handler = &keeper{w: w, sessions: map[string]*kept{}}
	if !c.Sessions {
		handler = server.NewStreamableHTTPServer(w.tools(), server.WithEndpointPath("/mcp"), server.WithStateLess(true),
			server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)))
	}
	w.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if c.Secret != "" && r.Header.Get(SecretHeader) != c.Secret {
			http.Error(rw, "no key", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(rw, r)
	})}
	w.work.Go(func() { _ = w.http.Serve(l) }) // it ends by Close
	return w, nil
}

// Close ends everything at once.
func (w *Witness) Close() error {
	w.stop()
	err := w.http.Close()
	w.work.Wait()
	return err
}

// tools is a server without sessions.
func (w *Witness) tools() *server.MCPServer {
	s := server.NewMCPServer("witness", "1", server.WithToolCapabilities(true))
	text, number := mcp.WithString("token", mcp.Required()), mcp.WithNumber
	s.AddTool(mcp.NewTool(Once, mcp.WithDescription("Runs once for each call."), text, number("delay_ms"),
		mcp.WithReadOnlyHintAnnotation(false), mcp.WithIdempotentHintAnnotation(false)), w.once)
	s.AddTool(mcp.NewTool(Look, mcp.WithDescription("Changes nothing."), text, number("delay_ms"),
		mcp.WithReadOnlyHintAnnotation(true), mcp.WithIdempotentHintAnnotation(true)), w.once)
	s.AddTool(mcp.NewTool(Steps, mcp.WithDescription("Tells how far it is."), text, number("steps"), number("every_ms")), w.steps)
	return s
}

func (w *Witness) once(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	token := r.GetString("token", "")
	w.journal.ran(token)
	// It does what it was asked to whether or not somebody still waits: that is what must not happen twice.
	w.pause(time.Duration(r.GetInt("delay_ms", 0)) * time.Millisecond)
	return mcp.NewToolResultText(token), nil
}

func (w *Witness) steps(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	token, n := r.GetString("token", ""), r.GetInt("steps", 0)
	w.journal.ran(token)
	for i := range n {
		w.pause(time.Duration(r.GetInt("every_ms", 0)) * time.Millisecond)
		if meta := r.Params.Meta; meta != nil && meta.ProgressToken != nil {
			// A client that has gone misses it; whether it should is what is tested.
			_ = server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
				"progressToken": meta.ProgressToken, "progress": i + 1, "total": n, "message": token,
			})
		}
	}
	// mcp-go may drop what is sent right before the answer.
	w.pause(time.Duration(r.GetInt("every_ms", 0)) * time.Millisecond)
	return mcp.NewToolResultText(token), nil
}

func (w *Witness) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.ctx.Done():
	}
}
