// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	// writeTime is how long a client may take for one piece of a stream (M-19).
	writeTime = 30 * time.Second
	pieceSize = 32 << 10
)

// answered are the headers of an answer that reach the client; this node has set what belongs to its own address.
func answered() []string {
	return []string{
		"Allow", "Cache-Control", "Content-Length", "Content-Type", "Mcp-Session-Id", "Retry-After", "Www-Authenticate", "X-Accel-Buffering",
	}
}

// relay passes an answer on. Each piece of a stream of events is sent as it comes: it may be all for hours.
func relay(w http.ResponseWriter, r *http.Request, resp *http.Response) error {
	h := w.Header()
	for _, name := range answered() {
		if values := resp.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	events := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	if events && out.Flush() != nil {
		return gone(r.Context())
	}
	piece := make([]byte, pieceSize)
	for {
		n, err := resp.Body.Read(piece)
		if n > 0 {
			_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // a server that knows no deadlines, as in tests, has none
			if _, err := w.Write(piece[:n]); err != nil {
				return gone(r.Context())
			}
			if events && out.Flush() != nil {
				return gone(r.Context())
			}
		}
		switch {
		case err == nil:
		case isEnd(err):
			return nil
		case r.Context().Err() != nil:
			return gone(r.Context())
		default:
			return fault.New(fault.Unavailable, ReasonBroken, "The node that this is for was lost while it answered.").Because(err)
		}
	}
}
