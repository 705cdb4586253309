// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/subject"
)

// callTimeout is how long a worker waits for one answer.
const callTimeout = 10 * time.Second

// A sample is what one visit to a system gave.
type sample struct {
	Calls    int           // answered in the measured time
	Elapsed  time.Duration // the measured time
	CPU      time.Duration // of the system's process tree in that time
	P50, P99 time.Duration
	RSS      int64 // bytes, at its end
	Bad      int   // answers that were not right, warm-up included
	FirstBad string
}

// cpuPerCall is the figure; 0 if there was no call.
func (s sample) cpuPerCall() time.Duration {
	if s.Calls == 0 {
		return 0
	}
	return s.CPU / time.Duration(s.Calls)
}

// A visit is one run of load against one system.
type visit struct {
	Endpoint    subject.Endpoint
	Workload    workload
	Concurrency int
	WarmUp      time.Duration
	Duration    time.Duration
	Usage       func() (subject.Usage, error) // of the system's process tree
}

// Phases of a visit, in order.
const (
	warming int32 = iota
	measuring
	over
)

// run starts the workers, lets them warm up, and measures. It returns when all have stopped; an error means that the visit could not be
// made, wrong answers are in the sample.
func (v visit) run(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var phase atomic.Int32
	workers := make([]*worker, v.Concurrency)
	var group sync.WaitGroup
	for i := range workers {
		w := &worker{number: i, visit: v, phase: &phase}
		workers[i] = w
		group.Go(func() {
			if err := w.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	result, err := v.measure(ctx, &phase)
	phase.Store(over)
	cancel(nil)
	group.Wait()
	if err != nil {
		return sample{}, err
	}
	var latencies []time.Duration
	for _, w := range workers {
		latencies = append(latencies, w.latencies...)
		result.Bad += w.bad
		if result.FirstBad == "" {
			result.FirstBad = w.firstBad
		}
	}
	slices.Sort(latencies)
	result.Calls = len(latencies)
	result.P50, result.P99 = percentile(latencies, 50), percentile(latencies, 99)
	return result, nil
}

// measure waits through the phases and reads the CPU time at both ends of the measured one.
func (v visit) measure(ctx context.Context, phase *atomic.Int32) (sample, error) {
	if err := wait(ctx, v.WarmUp); err != nil {
		return sample{}, err
	}
	before, err := v.Usage()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	phase.Store(measuring)
	if err := wait(ctx, v.Duration); err != nil {
		return sample{}, err
	}
	phase.Store(over)
	elapsed := time.Since(start)
	after, err := v.Usage()
	if err != nil {
		return sample{}, err
	}
	return sample{Elapsed: elapsed, CPU: after.CPU - before.CPU, RSS: after.RSS}, nil
}

// wait returns after d, or earlier with the cause if ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A worker has one connection and one request in flight.
type worker struct {
	number int
	visit  visit
	phase  *atomic.Int32

	conn   net.Conn
	reader *bufio.Reader
	out    []byte       // the request, reused
	body   bytes.Buffer // the answer's body, reused

	latencies []time.Duration
	bad       int
	firstBad  string
}

// run calls until the visit is over. An error is a connection or a session that could not be had.
func (w *worker) run(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", w.visit.Endpoint.Host)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	w.conn, w.reader = conn, bufio.NewReaderSize(conn, 16<<10)
	session, err := w.openSession()
	if err != nil {
		return fmt.Errorf("open session at %s%s: %w", w.visit.Endpoint.Host, w.visit.Endpoint.Path, err)
	}
	headers := w.visit.Workload.callHeaders(w.visit.Endpoint.Tool, session)
	var message, call []byte
	for id := uint64(1); w.phase.Load() != over && ctx.Err() == nil; id++ {
		message = appendMessage(message[:0], w.number, id)
		call = w.visit.Workload.appendCall(call[:0], w.visit.Endpoint.Tool, id, message)
		start := time.Now()
		status, _, err := w.exchange(headers, call)
		took := time.Since(start)
		if err != nil {
			return fmt.Errorf("call: %w", err)
		}
		if err := w.check(status, id, message); err != nil {
			w.bad++
			w.firstBad = err.Error()
		}
		if w.phase.Load() == measuring {
			w.latencies = append(w.latencies, took)
		}
	}
	return nil
}

// check looks for the call's token in the answer, and parses each 64th.
func (w *worker) check(status int, id uint64, message []byte) error {
	body := w.body.Bytes()
	if status != http.StatusOK || !bytes.Contains(body, message) {
		return fmt.Errorf("status %d, no token %s: %.300s", status, message, body)
	}
	if id%64 == 1 {
		return checkWhole(body, id, message)
	}
	return nil
}

// openSession opens a session of the legacy era and returns its id; the modern era has none.
func (w *worker) openSession() (string, error) {
	if w.visit.Workload.Modern {
		return "", nil
	}
	hello := `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"` + legacyVersion +
		`","capabilities":{},"clientInfo":` + clientInfo + `}}`
	status, header, err := w.exchange("", []byte(hello))
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("initialize: status %d: %.300s", status, w.body.Bytes())
	}
	session := header.Get("Mcp-Session-Id")
	done := w.visit.Workload.callHeaders("", session)
	status, _, err = w.exchange(done, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	if err != nil {
		return "", err
	}
	if status != http.StatusAccepted {
		return "", fmt.Errorf("notifications/initialized: status %d: %.300s", status, w.body.Bytes())
	}
	return session, nil
}

// exchange sends one request and reads its answer into w.body; of an event stream, the data of the last event.
func (w *worker) exchange(headers string, body []byte) (int, http.Header, error) {
	if err := w.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return 0, nil, err
	}
	w.out = appendRequest(w.out[:0], w.visit.Endpoint, headers, body)
	if _, err := w.conn.Write(w.out); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	w.body.Reset()
	_, err = w.body.ReadFrom(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	if response.Close {
		return 0, nil, fmt.Errorf("status %d, and the connection was closed: %w", response.StatusCode, io.ErrUnexpectedEOF)
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		w.keepLastEvent()
	}
	return response.StatusCode, response.Header, nil
}

// keepLastEvent cuts the body down to the data of its last event, which is the response.
func (w *worker) keepLastEvent() {
	events := w.body.Bytes()
	i := bytes.LastIndex(events, []byte("data:"))
	if i < 0 {
		return
	}
	data, _, _ := bytes.Cut(events[i+len("data:"):], []byte("\n"))
	data = bytes.Clone(bytes.TrimSpace(data))
	w.body.Reset()
	w.body.Write(data)
}
