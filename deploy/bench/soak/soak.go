// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// parallel is how many requests are sent at once while sessions are made and called.
const parallel = 8

// soak makes the sessions, opens their streams, and watches.
func soak(ctx context.Context, s settings, log io.Writer) (_ *result, err error) {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	upstream, stop, err := startUpstream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	n, err := startNode(ctx, s, dir, upstream)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	c := newCrowd(n, s.Sessions)
	defer c.close()

	r := &result{Time: time.Now().UTC().Format(time.RFC3339), Sessions: s.Sessions}
	if err := c.warm(ctx); err != nil {
		return nil, err
	}
	if r.Before, err = n.settle(ctx); err != nil {
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	say(log, "%d sessions called once", s.Sessions)
	if r.Idle, err = n.settle(ctx); err != nil {
		return nil, err
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	say(log, "%d idle connections open", s.Sessions)
	if r.Connected, err = n.settle(ctx); err != nil {
		return nil, err
	}
	if err := c.listen(ctx); err != nil {
		return nil, err
	}
	say(log, "%d streams open", s.Sessions)
	opened := time.Now()
	for {
		now, err := n.read(ctx)
		if err != nil {
			return nil, err
		}
		now.Seconds = time.Since(opened).Seconds()
		r.Readings = append(r.Readings, now)
		say(log, "%4.0f s: %d goroutines, live %s, RSS %s", now.Seconds, now.Goroutines, mebibytes(now.Live), mebibytes(now.RSS))
		if time.Since(opened) >= s.Duration {
			break
		}
		if err := c.callFor(ctx, s.Every); err != nil {
			return nil, err
		}
	}
	r.Calls = c.calls
	r.Lost = c.lost()
	return r, nil
}

func say(log io.Writer, format string, a ...any) { _, _ = fmt.Fprintf(log, "soak: "+format+"\n", a...) }

// crowd is the clients: sessions that are called over a few shared connections, each with a stream of its own.
type crowd struct {
	node    *node
	calling *http.Client
	ids     []string       // Mcp-Session-Id
	own     []*http.Client // of each session, with one connection
	streams []io.Closer
	reading sync.WaitGroup
	ended   []bool // streams that ended by themselves
	closing chan struct{}
	next    int // session that is called next
	calls   int
}

func newCrowd(n *node, sessions int) *crowd {
	c := &crowd{
		node: n, calling: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: parallel}}, ids: make([]string, sessions),
		own: make([]*http.Client, sessions), ended: make([]bool, sessions), closing: make(chan struct{}),
	}
	for i := range c.own {
		c.own[i] = &http.Client{Transport: &http.Transport{}}
	}
	return c
}

// close ends the streams.
func (c *crowd) close() {
	close(c.closing)
	for _, s := range c.streams {
		_ = s.Close() // nothing depends on how a stream ends
	}
	c.reading.Wait()
	c.calling.CloseIdleConnections()
	for _, own := range c.own {
		own.CloseIdleConnections()
	}
}

// lost is how many streams ended by themselves.
func (c *crowd) lost() (n int) {
	for _, ended := range c.ended {
		if ended {
			n++
		}
	}
	return n
}

// warm uses each path once, so that what is made at first use is not counted as the sessions'.
func (c *crowd) warm(ctx context.Context) error {
	for range parallel {
		id, err := c.initialize(ctx, 0)
		if err != nil {
			return err
		}
		if err := c.call(ctx, 0, id); err != nil {
			return err
		}
		if err := c.end(ctx, 0, id); err != nil {
			return err
		}
	}
	return nil
}

// open makes all sessions and calls a tool in each, so that each has an upstream session.
func (c *crowd) open(ctx context.Context) error {
	return each(len(c.ids), func(i int) error {
		id, err := c.initialize(ctx, i)
		if err != nil {
			return err
		}
		c.ids[i] = id
		return c.call(ctx, i, id)
	})
}

// callFor calls one session after the other for d, about 50 times a second.
func (c *crowd) callFor(ctx context.Context, d time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(d)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-tick.C:
			i := c.next % len(c.ids)
			c.next++
			if err := c.call(ctx, i, c.ids[i]); err != nil {
				return err
			}
			c.calls++
		}
	}
}

// each runs f for 0 to n−1, several at once, and returns the first error.
func each(n int, f func(i int) error) error {
	work := make(chan int)
	failed := make(chan error, parallel)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range work {
				if err := f(i); err != nil {
					failed <- fmt.Errorf("session %d: %w", i, err)
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case work <- i:
		case err = <-failed:
		}
	}
	close(work)
	workers.Wait()
	select {
	case late := <-failed:
		err = errors.Join(err, late)
	default:
	}
	return err
}

// initialize starts a session.
func (c *crowd) initialize(ctx context.Context, i int) (id string, err error) {
	const body = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"soak","version":"1"}}}`
	r, err := c.send(ctx, c.calling, http.MethodPost, i, "", body)
	if err != nil {
		return "", err
	}
	if id = r.session; id == "" {
		return "", r.problem("initialize")
	}
	_, err = c.send(ctx, c.calling, http.MethodPost, i, id, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return id, err
}

// call calls the tool and checks the answer.
func (c *crowd) call(ctx context.Context, i int, id string) error {
	message := fmt.Sprintf("message %d of session %d", c.next, i)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"soak__echo","arguments":{"message":%q}}}`, message)
	r, err := c.send(ctx, c.calling, http.MethodPost, i, id, body)
	if err == nil && (r.status != http.StatusOK || !strings.Contains(r.text, message)) {
		err = r.problem("call")
	}
	return err
}

func (c *crowd) end(ctx context.Context, i int, id string) error {
	r, err := c.send(ctx, c.calling, http.MethodDelete, i, id, "")
	if err == nil && r.status != http.StatusNoContent {
		err = r.problem("delete")
	}
	return err
}

func (c *crowd) request(ctx context.Context, method string, i int, id, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.node.url(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.node.tokens[i/perTeam])
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if id != "" {
		r.Header.Set("Mcp-Session-Id", id)
		r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	}
	return r, nil
}

func (c *crowd) send(ctx context.Context, client *http.Client, method string, i int, id, body string) (reply, error) {
	request, err := c.request(ctx, method, i, id, body)
	if err != nil {
		return reply{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	text, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	return reply{status: response.StatusCode, session: response.Header.Get("Mcp-Session-Id"), text: string(text)}, err
}

// reply is what a request was answered.
type reply struct {
	status        int
	session, text string
}

func (r reply) problem(what string) error {
	return fmt.Errorf("%s: status %d: %s", what, r.status, r.text)
}

// connect opens a connection for each session and leaves it idle.
func (c *crowd) connect(ctx context.Context) error {
	return each(len(c.ids), func(i int) error {
		r, err := c.send(ctx, c.own[i], http.MethodPost, i, c.ids[i], `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
		if err == nil && r.status != http.StatusOK {
			err = r.problem("ping")
		}
		return err
	})
}

// listen opens a stream for each session, on the session's own connection.
func (c *crowd) listen(ctx context.Context) error {
	c.streams = make([]io.Closer, len(c.ids))
	for i := range c.ids {
		c.streams[i] = http.NoBody
	}
	return each(len(c.ids), func(i int) error {
		request, err := c.request(ctx, http.MethodGet, i, c.ids[i], "")
		if err != nil {
			return err
		}
		response, err := c.own[i].Do(request)
		if err != nil {
			return err
		}
		c.streams[i] = response.Body
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("stream: status %d", response.StatusCode)
		}
		c.reading.Go(func() {
			_, _ = io.Copy(io.Discard, response.Body)
			select {
			case <-c.closing:
			default:
				c.ended[i] = true
			}
		})
		return nil
	})
}
