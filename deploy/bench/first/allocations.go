// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// allocation is what one steady call allocates in the whole process: a node, and what a control plane and an authserver do meanwhile.
type allocation struct {
	Name  string  `json:"name"`
	Count float64 `json:"count"` // per call

	gateway string
	goal    float64
}

func allocations() []allocation {
	return []allocation{
		{Name: "P-13 allocations per tools/call in the whole process, without a policy", gateway: plain, goal: 45},
		{Name: "P-13 allocations per tools/call in the whole process, with a policy on arguments", gateway: ruled, goal: 65},
	}
}

// callArguments are those of the calls whose allocations are counted.
const callArguments = `{"environment":"dev","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`

// measureAllocations counts what steady calls of one caller allocate, of each gateway in turn.
func (n *node) measureAllocations(ctx context.Context, s settings, client string) ([]allocation, error) {
	measured := allocations()
	for i := range measured {
		a := &measured[i]
		token, err := n.token(ctx, client, a.gateway)
		if err != nil {
			return nil, err
		}
		c := &caller{
			url: n.url(a.gateway), token: token, modern: true, tool: plain + "__" + n.tool, arguments: callArguments,
			http: &http.Client{Transport: &http.Transport{}},
		}
		if a.Count, err = n.allocated(ctx, c, s.Counted); err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		c.http.CloseIdleConnections()
	}
	return measured, nil
}

// allocated returns the allocations of each of some calls, without those of asking for the number.
func (n *node) allocated(ctx context.Context, c *caller, calls int) (float64, error) {
	run := func() error {
		for range calls {
			if _, err := c.call(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(); err != nil { // pools and caches fill
		return 0, err
	}
	var at [3]float64
	for i := range at {
		if i == 2 {
			if err := run(); err != nil {
				return 0, err
			}
		}
		var err error
		if at[i], err = n.mallocs(ctx); err != nil {
			return 0, err
		}
	}
	return (at[2] - at[1] - (at[1] - at[0])) / float64(calls), nil
}

// mallocs asks the node how much it has allocated so far.
func (n *node) mallocs(ctx context.Context) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return 0, err
	}
	page, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^go_memstats_mallocs_total(?:\{[^}]*\})? (\S+)$`).FindSubmatch(page)
	if m == nil {
		return 0, errors.New("the node does not tell how much it has allocated")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
