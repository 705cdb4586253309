// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// maxShadows bounds the pairs of gateway and header that were told of. Beyond it they begin anew: each may be told again.
const maxShadows = 10_000

// shadows remembers which conflicts were logged. Its zero value is ready.
type shadows struct {
	mu   sync.Mutex
	told map[[2]string]struct{} // uid of the gateway, header
}

// first reports whether a conflict was not told yet.
func (s *shadows) first(gatewayUID, header string) bool {
	key := [2]string{gatewayUID, header}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, told := s.told[key]; told {
		return false
	}
	if s.told == nil || len(s.told) >= maxShadows {
		s.told = make(map[[2]string]struct{})
	}
	s.told[key] = struct{}{}
	return true
}

// pass lets the headers that the client passes through go with a request to an HTTP server (G-40). Where the credential or the
// server has a header of that name, it wins, which is logged once for each gateway and header (G-42, UP-13).
func (d *Dispatcher) pass(ctx context.Context, c *call.Caller, o *call.Outbound) {
	if len(c.Passed) == 0 || o.Server.Command != "" {
		return
	}
	o.Passed = c.Passed
	for name := range c.Passed {
		if (len(o.Credential.Header[name]) > 0 || isFixed(o, name)) && d.shadowed.first(c.Gateway.UID, name) {
			d.Log.WarnContext(ctx, "pass-through header is shadowed", slog.String(obs.AttrGateway, c.Gateway.Name), slog.String("header", strings.ToLower(name)),
				slog.String(obs.AttrServer, o.Server.Name), slog.String(obs.AttrConnection, o.Connection.Name))
		}
	}
}

// isFixed reports whether the server's settings have a header.
func isFixed(o *call.Outbound, name string) bool {
	for fixed := range o.Server.Headers {
		if strings.EqualFold(fixed, name) {
			return true
		}
	}
	return false
}
