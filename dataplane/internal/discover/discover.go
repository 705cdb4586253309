// SPDX-License-Identifier: Apache-2.0

// Package discover lists a server's tools when the control plane asks for it, because only nodes can reach upstreams
// (G-16). The result goes back as raw bytes; what it means is decided at the control plane.
//
// follow's task stream calls it, upstream answers it. It must never change the view: a discovery reaches calls only as
// a revision.
package discover

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// timeout of one discovery, all pages included.
const timeout = 60 * time.Second

// Listing is what a server told about itself.
type Listing struct {
	Version      string   // negotiated protocol version
	ServerInfo   []byte   // raw JSON object
	Capabilities []byte   // raw JSON object
	Instructions string   // may be empty
	Tools        [][]byte // raw JSON objects, byte for byte, in the server's order
}

// Lister asks a server for everything it has. c is nil for a server that needs no credential.
type Lister interface {
	List(ctx context.Context, s *view.Server, c *view.Connection) (Listing, error)
}

// Reporter hands the result of a task to the control plane; exactly one of listing and failure is set.
type Reporter interface {
	ReportDiscovery(ctx context.Context, taskID string, listing *Listing, failure *fault.Fault) error
}

// Discoverer runs discovery tasks.
type Discoverer struct {
	lister   Lister
	reporter Reporter
}

// New returns a Discoverer.
func New(l Lister, r Reporter) *Discoverer { return &Discoverer{lister: l, reporter: r} }

// Run lists the server and reports what came of it. The error is the reporter's: a server that does not answer is a
// result.
func (d *Discoverer) Run(ctx context.Context, taskID string, s *view.Server, c *view.Connection) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	listing, err := d.lister.List(ctx, s, c)
	if err != nil {
		return d.reporter.ReportDiscovery(context.WithoutCancel(ctx), taskID, nil, fault.From(err))
	}
	return d.reporter.ReportDiscovery(ctx, taskID, &listing, nil)
}
