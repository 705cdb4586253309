// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// timeout of one discovery, all pages included.
const timeout = 60 * time.Second

// Listing is what a server told about itself. Lists are raw JSON objects, byte for byte, in the server's order.
type Listing struct {
	Version      string // negotiated protocol version
	ServerInfo   []byte // raw JSON object
	Capabilities []byte // raw JSON object
	Instructions string // may be empty

	Tools, Prompts, Resources, Templates [][]byte

	Missing []string // "prompts", "resources", "templates": lists that the server declares but did not give
	SSE     bool     // the URL of a Streamable HTTP server speaks HTTP+SSE only

	// Authorities are those of resources, templates and apps, sorted (M-66). The Discoverer fills them in.
	Authorities []string
}

// The most that a report carries (penstock.node.v1). What a server tells beyond is left out, so that it harms nobody
// but the server: the control plane would refuse the whole report.
const (
	maxObject       = 64 << 10
	maxInstructions = 1 << 20
	maxEntries      = 50_000
)

func (l *Listing) bound() {
	if len(l.ServerInfo) > maxObject {
		l.ServerInfo = nil
	}
	if len(l.Capabilities) > maxObject {
		l.Capabilities = nil
	}
	if len(l.Instructions) > maxInstructions {
		l.Instructions = strings.ToValidUTF8(l.Instructions[:maxInstructions], "")
	}
	for _, list := range []*[][]byte{&l.Tools, &l.Prompts, &l.Resources, &l.Templates} {
		*list = (*list)[:min(len(*list), maxEntries)]
	}
}

// Lister asks a server for everything it has. c is nil for a server that needs no credential.
type Lister interface {
	List(ctx context.Context, s *view.Server, c *view.Connection) (Listing, error)
}

// Cause says why a server was discovered. Exactly one of the two is set.
type Cause struct {
	TaskID string // of the control plane's task
	Server string // name of the server that told of a change
}

// Reporter hands the result of a discovery to the control plane; exactly one of listing and failure is set.
type Reporter interface {
	ReportDiscovery(ctx context.Context, cause Cause, listing *Listing, failure *fault.Fault) error
}

// Views returns the view that servers and connections are found in, nil before there is one.
type Views interface {
	Load() *view.Snapshot
}

// Config is what a Discoverer needs; all of it is required.
type Config struct {
	Lister   Lister
	Reporter Reporter
	View     Views
	Log      *slog.Logger
}

// Discoverer runs discoveries. It is safe for concurrent use.
type Discoverer struct {
	c Config

	wake chan struct{} // has room for one: something was put into changed
	busy chan struct{} // has room for those that run at once

	mu      sync.Mutex
	changed map[string]*change // by server
}

// New returns a Discoverer. It hears of changes at any time and discovers them while Run runs.
func New(c Config) *Discoverer {
	return &Discoverer{
		c: c, wake: make(chan struct{}, 1), busy: make(chan struct{}, maxBusy), changed: make(map[string]*change),
	}
}

// Discover lists the server for a task and reports what came of it. The error is the reporter's: a server that does not
// answer is a result.
func (d *Discoverer) Discover(ctx context.Context, taskID string, s *view.Server, c *view.Connection) error {
	return d.perform(ctx, Cause{TaskID: taskID}, s, c)
}

func (d *Discoverer) perform(ctx context.Context, cause Cause, s *view.Server, c *view.Connection) error {
	listing, err := d.list(ctx, s, c)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // the node stops: that says nothing about the server
		}
		return d.c.Reporter.ReportDiscovery(ctx, cause, nil, fault.From(err))
	}
	listing.bound()
	listing.Authorities = authorities(listing)
	return d.c.Reporter.ReportDiscovery(ctx, cause, &listing, nil)
}

func (d *Discoverer) list(ctx context.Context, s *view.Server, c *view.Connection) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return d.c.Lister.List(ctx, s, c)
}
