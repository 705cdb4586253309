// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// interval is the shortest time between the starts of two discoveries of one server that it gave cause for itself:
	// a server that tells of changes without end costs one discovery a second (M-71).
	interval = time.Second
	// maxInterval bounds the wait after discoveries that could not be reported.
	maxInterval = time.Minute
	// maxBusy is how many servers are discovered at once.
	maxBusy = 4
)

// change is a server that told of a change.
type change struct {
	connection string // the newest that told
	dirty      bool   // told since the last discovery began
	running    bool   // a goroutine sees to it
}

// Changed notes that a server told over a connection that one of its lists changed. It returns at once; Run discovers the
// server with that connection's credential, at once or as soon as a second has passed since the last time. connection is
// empty for a server that needs no credential.
func (d *Discoverer) Changed(server, connection string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.changed[server]
	if c == nil {
		c = &change{}
		d.changed[server] = c
	}
	c.connection, c.dirty = connection, true
	select {
	case d.wake <- struct{}{}:
	default: // Run looks at all of them anyway
	}
}

// Run discovers servers that [Discoverer.Changed] was told of, until ctx ends. It waits for discoveries that are under
// way.
func (d *Discoverer) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	for {
		for _, server := range d.unseen() {
			working.Go(func() { d.follow(ctx, server) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		}
	}
}

// unseen returns the servers that no goroutine sees to, and marks them as seen to.
func (d *Discoverer) unseen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var servers []string
	for server, c := range d.changed {
		if !c.running {
			c.running = true
			servers = append(servers, server)
		}
	}
	return servers
}

// follow discovers one server as long as it tells of changes.
func (d *Discoverer) follow(ctx context.Context, server string) {
	wait := interval
	for {
		connection, again := d.next(server)
		if !again {
			return
		}
		pause := time.NewTimer(wait)
		if err := d.rediscover(ctx, server, connection); err != nil && ctx.Err() == nil {
			d.c.Log.WarnContext(ctx, "discovery not reported", slog.String(obs.AttrServer, server), slog.Any(obs.AttrError, err))
			wait = min(2*wait, maxInterval)
			pause.Reset(wait)
			d.Changed(server, connection) // the control plane has yet to hear of it
		} else {
			wait = interval
		}
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// next returns the connection to discover a server with; false, and forgets the server, if it told of nothing more.
func (d *Discoverer) next(server string) (connection string, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.changed[server]
	if !c.dirty {
		delete(d.changed, server)
		return "", false
	}
	c.dirty = false
	return c.connection, true
}

// rediscover discovers a server as the view has it. One that the view no longer has is nobody's concern.
func (d *Discoverer) rediscover(ctx context.Context, server, connection string) error {
	select {
	case d.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.busy }()
	v := d.c.View.Load()
	if v == nil {
		return nil
	}
	s, c := v.Server(server), v.Connection(connection)
	if s == nil || c == nil && s.NeedsSecret {
		return nil
	}
	return d.perform(ctx, Cause{Server: server}, s, c)
}
