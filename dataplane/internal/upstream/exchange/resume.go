// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

const (
	// maxFruitless is how many reconnections in a row may bring nothing.
	maxFruitless = 5
	// firstRetry is the pause when the stream asks for none, maxRetry the
	// longest one that is granted.
	firstRetry = time.Second
	maxRetry   = 30 * time.Second
)

// resumable reports whether a stream that failed with err can be read on. The
// modern era has no resuming: there a broken stream fails its request.
func (x *Exchange) resumable(err error) bool {
	return x.lastID != "" && x.Version.Era() == wire.Legacy && errors.Is(err, httpclient.ErrTruncated)
}

// resume reads the rest of the answer by GET with Last-Event-ID, as often as the
// upstream closes the stream early (M-42, SSE polling). broken is why the stream
// ended; it is the error when the rest does not come.
func (x *Exchange) resume(ctx context.Context, a *Answer, broken error) error {
	for fruitless := 0; fruitless < maxFruitless; {
		if err := x.pause(ctx); err != nil {
			return err
		}
		resp, err := x.Get(ctx, x.lastID, x.until)
		var e *httpclient.Error
		switch {
		case errors.As(err, &e) && (ctx.Err() != nil || e.Timeout()):
			return &httpclient.Error{Op: e.Op, Sent: true, Err: e.Err} // the request itself was sent
		case err != nil:
			fruitless++
			continue
		}
		fruitful, err := x.readResumed(ctx, resp, a)
		resp.Close()
		if err == nil || !x.resumable(err) {
			return err
		}
		if fruitless++; fruitful {
			fruitless = 0
		}
	}
	return broken
}

// readResumed reads one answer to GET.
func (x *Exchange) readResumed(ctx context.Context, resp *httpclient.Response, a *Answer) (fruitful bool, err error) {
	if resp.Status == http.StatusOK && mediaType(bytes.Clone(resp.Header("Content-Type")), "text/event-stream") {
		return x.readEvents(ctx, resp, a, true)
	}
	x.out, _ = resp.ReadAll(x.out[:0], refusalText)
	truncated := &httpclient.Error{Op: "body", Sent: true, Err: httpclient.ErrTruncated}
	if resp.Status >= 400 && resp.Status < 500 && resp.Status != http.StatusConflict && resp.Status != http.StatusTooManyRequests {
		x.lastID = "" // it will not change its mind
	}
	return false, truncated
}

// pause waits as long as the upstream asked for, but not beyond the request's
// time.
func (x *Exchange) pause(ctx context.Context) error {
	wait := x.retry
	if wait == 0 {
		wait = firstRetry
	}
	wait = min(wait, maxRetry)
	left := wait + 1
	if !x.until.IsZero() {
		left = time.Until(x.until)
	}
	timer := time.NewTimer(min(wait, left))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return &httpclient.Error{Op: "body", Sent: true, Err: ctx.Err()}
	case <-timer.C:
	}
	if left <= wait {
		return &httpclient.Error{Op: "body", Sent: true, Err: os.ErrDeadlineExceeded}
	}
	return nil
}
