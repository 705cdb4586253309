// SPDX-License-Identifier: Apache-2.0

// Package stream keeps a session's GET stream open (mcp.md M-91): it reads
// events, resumes after the last one when the stream ends, and gives up where the
// server has no such stream.
//
// Called by upstream, on a goroutine that upstream owns. It must never know what
// the messages are.
package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// How a stream ends for good.
var (
	// ErrNone: the server offers no such stream (405 and the like).
	ErrNone = errors.New("the server has no stream for messages outside of calls")
	// ErrGone: the server does not know the session any more.
	ErrGone = errors.New("the session has ended")
	// ErrRefused: the server refused the credential.
	ErrRefused = errors.New("the server refused the credential")
)

// Handler gets what comes.
type Handler struct {
	// After is the id of the event that the stream is to go on from; empty for its beginning.
	After string
	// Passed is called with the id of an event when what came until then has been taken. May be nil.
	Passed func(eventID string)
	// Opened is called each time that the stream is open, before its messages.
	// May be nil.
	Opened func()
	// Message takes one message; the bytes are valid until it returns. An error
	// ends the stream.
	Message func(text []byte) error
}

const (
	firstPause = 250 * time.Millisecond
	maxPause   = 30 * time.Second
	// steady is how long a stream must have lasted for the pauses to begin
	// anew.
	steady = 10 * time.Second
)

// Follow keeps the stream of x's peer open until ctx ends, when it returns nil,
// and returns one of the errors above when there is nothing to be had, or the
// error of h.Message.
func Follow(ctx context.Context, x *exchange.Exchange, h Handler) error {
	f := follower{x: x, h: h, pause: firstPause, lastID: h.After}
	for {
		began := time.Now()
		if final := f.once(ctx); final != nil && ctx.Err() == nil {
			return final
		}
		if f.fruitful || time.Since(began) > steady {
			f.pause = firstPause
		}
		wait := f.pause
		if f.retry > 0 {
			wait = max(wait, f.retry)
		}
		f.pause = min(2*f.pause, maxPause)
		timer := time.NewTimer(min(wait, maxPause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

type follower struct {
	x        *exchange.Exchange
	h        Handler
	events   sse.Reader
	lastID   string
	retry    time.Duration // what the stream asks to wait
	pause    time.Duration
	fruitful bool // the last answer brought something
	ever     bool // it was open once
}

// once opens the stream and reads it to its end. An error is final.
func (f *follower) once(ctx context.Context) error {
	f.fruitful = false
	resp, err := f.x.Get(ctx, f.lastID, time.Time{})
	if err != nil {
		return nil // it may be reached the next time
	}
	defer resp.Close()
	if resp.Status != http.StatusOK || !eventStream(resp.Header("Content-Type")) {
		return f.refused(resp.Status)
	}
	f.ever = true
	if f.h.Opened != nil {
		f.h.Opened()
	}
	f.events.Reset(resp, int(f.x.Limit))
	for {
		e, err := f.events.Next()
		passed := ""
		if id := f.events.LastID(); id != "" && id != f.lastID {
			f.lastID, passed = id, id
		}
		if wait := f.events.Retry(); wait > 0 {
			f.retry = wait
		}
		if err != nil {
			return nil // an end, or one message too large: read on with the next stream
		}
		if len(e.Data) > 0 && e.IsMessage() {
			f.fruitful = true
			if err := f.h.Message(e.Data); err != nil {
				return err
			}
		}
		if passed != "" && f.h.Passed != nil {
			f.h.Passed(passed)
		}
	}
}

// refused tells what a status means; nil is worth another attempt.
func (f *follower) refused(status int) error {
	switch {
	case status == http.StatusNotFound && f.ever: // else it may have no GET at all
		return ErrGone
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ErrRefused
	case status == http.StatusBadRequest && f.lastID != "":
		f.lastID = "" // it cannot resume: begin anew
		return nil
	case status == http.StatusConflict || status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented:
		return nil // the stream before is not noticed as ended yet, or it is down
	}
	return fmt.Errorf("%w: HTTP status %d", ErrNone, status)
}

func eventStream(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte{';'})
	return bytes.EqualFold(bytes.TrimSpace(kind), []byte("text/event-stream"))
}
