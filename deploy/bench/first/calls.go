// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/synthetic"
)

const (
	legacyVersion = "2025-11-25"
	modernVersion = "2026-07-28"
)

// kind is a way of calling, and what was measured of it.
type kind struct {
	Name    string `json:"name"`
	gateway string
	modern  bool
	// Medians over the callers, in milliseconds. First is all that a new caller sends until its first result: of the legacy era that
	// is initialize and the call.
	FirstMS  float64 `json:"first_ms"`
	SteadyMS float64 `json:"steady_ms"` // as many steady requests as First has
	AddedMS  float64 `json:"added_ms"`  // of each caller's difference
}

// measureCalls starts everything, has each caller make its calls, counts what calls allocate, and ends everything.
func measureCalls(ctx context.Context, s settings) (_ []kind, counted []allocation, err error) {
	kinds := []kind{
		{Name: "2026-07-28", gateway: plain, modern: true},
		{Name: "2025-11-25, with initialize", gateway: plain},
		{Name: "2026-07-28, with a credential to ask for", gateway: keyed, modern: true},
	}
	var clients []string
	for k := range kinds {
		for i := range s.Callers {
			clients = append(clients, clientName(k, i))
		}
	}
	dir, err := os.MkdirTemp("", "bench-first-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	upstream, stop, err := serveUpstream(ctx, synthetic.Catalogue{Gateways: 1, Tools: 1, Servers: 1, Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	n, err := startNode(ctx, s, dir, upstream, clients)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	for k := range kinds {
		var first, steady, added []time.Duration
		for i := range s.Callers {
			token, err := n.token(ctx, clientName(k, i), kinds[k].gateway)
			if err != nil {
				return nil, nil, err
			}
			f, t, err := n.calls(ctx, kinds[k], token, s.Steady)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", kinds[k].Name, err)
			}
			first, steady, added = append(first, f), append(steady, t), append(added, f-t)
		}
		kinds[k].FirstMS, kinds[k].SteadyMS, kinds[k].AddedMS = median(first), median(steady), median(added)
	}
	all, err := n.measureAllocations(ctx, s, clientName(0, 0), standalone)
	if err != nil {
		return nil, nil, err
	}
	alone, err := measureNode(ctx, s, upstream)
	return kinds, append(alone, all...), err
}

func clientName(kind, i int) string { return fmt.Sprintf("caller-%d-%d", kind, i) }

// median returns the middle one, in milliseconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e6
}

// calls makes the first call of a token and some more, over one connection that is open already: a listener that is new to nobody
// answers it first. It returns how long the first took, and the median of as many steady ones.
func (n *node) calls(ctx context.Context, k kind, token string, more int) (first, steady time.Duration, err error) {
	c := &caller{url: n.url(k.gateway), token: token, modern: k.modern, tool: k.gateway + "__" + n.tool, http: &http.Client{Transport: &http.Transport{}}}
	defer c.http.CloseIdleConnections()
	if err := c.warm(ctx); err != nil {
		return 0, 0, err
	}
	opened := time.Duration(0)
	if !k.modern {
		if opened, err = c.initialize(ctx); err != nil {
			return 0, 0, err
		}
	}
	called, err := c.call(ctx)
	if err != nil {
		return 0, 0, err
	}
	var all []time.Duration
	for range more {
		took, err := c.call(ctx)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, took)
	}
	slices.Sort(all)
	steady = all[len(all)/2]
	if opened > 0 {
		steady *= 2
	}
	return opened + called, steady, nil
}

// caller is one client on one connection.
type caller struct {
	url, token, tool, session string
	arguments                 string // none if empty
	modern                    bool
	http                      *http.Client
}

// warm opens the connection with a request that needs no token.
func (c *caller) warm(ctx context.Context) error {
	_, _, _, err := c.send(ctx, http.MethodGet, strings.Replace(c.url, "/v1/mcp/", "/.well-known/oauth-protected-resource/v1/mcp/", 1), "", nil)
	return err
}

// initialize opens a legacy session.
func (c *caller) initialize(ctx context.Context) (time.Duration, error) {
	took, header, body, err := c.send(ctx, http.MethodPost, c.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+legacyVersion+
		`","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`, c.headers(""))
	if err != nil {
		return 0, err
	}
	if c.session = header.Get("Mcp-Session-Id"); c.session == "" {
		return 0, fmt.Errorf("no session: %s", body)
	}
	return took, nil
}

// call calls the tool and wants its result.
func (c *caller) call(ctx context.Context) (time.Duration, error) {
	meta := ""
	if c.modern {
		meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modernVersion + `","io.modelcontextprotocol/clientCapabilities":{}}`
	}
	took, _, body, err := c.send(ctx, http.MethodPost, c.url, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+c.tool+`","arguments":`+cmp.Or(c.arguments, "{}")+meta+`}}`, c.headers("tools/call"))
	if err == nil && !strings.Contains(body, `"text":"done"`) {
		err = fmt.Errorf("call: %s", body)
	}
	return took, err
}

// headers are those of a method beside the token's.
func (c *caller) headers(method string) map[string]string {
	h := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + c.token}
	switch {
	case c.modern:
		h["MCP-Protocol-Version"], h["Mcp-Method"], h["Mcp-Name"] = modernVersion, method, c.tool
	case c.session != "":
		h["MCP-Protocol-Version"], h["Mcp-Session-Id"] = legacyVersion, c.session
	}
	return h
}

// send sends a request, reads the answer whole and tells how long both took.
func (c *caller) send(ctx context.Context, method, to, body string, headers map[string]string) (time.Duration, http.Header, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	began := time.Now()
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	text, err := io.ReadAll(answer.Body)
	took := time.Since(began)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return 0, nil, "", err
	}
	if answer.StatusCode != http.StatusOK {
		return 0, nil, "", fmt.Errorf("%s %s: status %d: %s", method, to, answer.StatusCode, text)
	}
	return took, answer.Header, string(text), nil
}
