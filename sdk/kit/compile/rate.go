// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// RateLimit is how often something may happen at a gateway, over all nodes together (G-50).
type RateLimit struct {
	// Rule names the count: the gateway's uid and a digest of what counts together. It stays the same while numbers change, so
	// that the count goes on, and it holds no name of anything.
	Rule   string
	Per    RatePer
	Amount int // in each period
	Period time.Duration
	Burst  int  // at once
	Closed bool // without the store that nodes share, everything is over the limit

	tools []string // patterns; nil means all
}

// RatePer says what counts together.
type RatePer uint8

// What counts together.
const (
	PerGateway RatePer = iota
	PerCaller
	PerTeam
	PerToken
	PerServer
	PerTool
)

// String returns the word of manifests, for example "CALLER".
func (p RatePer) String() string {
	return [...]string{"GATEWAY", "CALLER", "TEAM", "TOKEN", "SERVER", "TOOL"}[p]
}

// Counts reports whether calls of a tool count, by its server and the name that the server knows.
func (l *RateLimit) Counts(server, upstream string) bool {
	return l.tools == nil || slices.ContainsFunc(l.tools, func(pattern string) bool { return matches(pattern, server, upstream) })
}

// matches reports whether a pattern fits "<server>__<upstream name>", without making that text.
func matches(pattern, server, upstream string) bool {
	const between = "__"
	size := len(server) + len(between) + len(upstream)
	at := func(i int) byte {
		switch {
		case i < len(server):
			return server[i]
		case i < len(server)+len(between):
			return '_'
		default:
			return upstream[i-len(server)-len(between)]
		}
	}
	return glob(pattern, size, at)
}

// glob reports whether a pattern fits a text of a size, given by its bytes: * stands for any of them, also none.
func glob(pattern string, size int, at func(int) byte) bool {
	// Behind a star, the text is tried from one place after the other; an earlier star need not be tried again.
	p, i, star, from := 0, 0, -1, 0
	for i < size {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == at(i):
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// addRateLimits reads the limits. One of a kind that this node does not know is Invalid: it was made for newer nodes.
func (g *Gateway) addRateLimits(limits []*resourcev1.RateLimit) error {
	for _, r := range limits {
		per := RatePer(r.GetPer() - resourcev1.RateLimitPer_RATE_LIMIT_PER_GATEWAY)
		amount, call := max(r.GetRequests(), r.GetToolCalls()), r.GetToolCalls() > 0
		period := r.GetPeriod().AsDuration()
		if r.GetPer() < resourcev1.RateLimitPer_RATE_LIMIT_PER_GATEWAY || per > PerTool || amount == 0 || period <= 0 ||
			r.GetWhenUnavailable() > resourcev1.RateLimitUnavailable_RATE_LIMIT_UNAVAILABLE_CLOSED {
			return fault.New(fault.Invalid, "UNKNOWN_RATE_LIMIT", "a rate limit of the gateway is not known to this node; update the node")
		}
		l := RateLimit{
			Per: per, Amount: int(amount), Period: period, Burst: int(r.GetBurst()),
			Closed: r.GetWhenUnavailable() == resourcev1.RateLimitUnavailable_RATE_LIMIT_UNAVAILABLE_CLOSED,
			tools:  slices.Sorted(slices.Values(r.GetTools())),
		}
		if l.Burst == 0 {
			l.Burst = l.Amount
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%v %t %v %q", l.Per, call, l.Period, l.tools))
		l.Rule = g.UID + "/" + hex.EncodeToString(sum[:6])
		if call {
			g.CallLimits = append(g.CallLimits, l)
		} else {
			g.RequestLimits = append(g.RequestLimits, l)
		}
	}
	return nil
}
