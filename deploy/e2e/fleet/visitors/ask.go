// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"context"
	"errors"
	"net/http"
)

// Ask calls a tool once, without a session, over a connection of its own. The error is what went wrong, as [Call].Reason says it.
func Ask(ctx context.Context, url, token, tool, call string) error {
	v := &visitor{crowd: &Crowd{c: Config{URL: url}}, token: token, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	v.crowd.url.Store(&url)
	if r := v.attempt(ctx, &plan{token: call, tool: tool}); r.reason != "" {
		return errors.New(r.reason)
	}
	return nil
}

// Move sends all visitors to another place; their sessions and connections there begin with the next request.
func (c *Crowd) Move(url string) {
	c.url.Store(&url)
	for _, v := range c.visitors {
		v.http.CloseIdleConnections()
	}
}
