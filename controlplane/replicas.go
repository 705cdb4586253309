// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/replicas"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// fellows are the other control planes, for the rooms that are made before they are known. Replicas is filled right after,
// before anything runs; nil means that this control plane is alone.
type fellows struct {
	id       string
	replicas *replicas.Replicas
}

// Sync implements distribute.Others.
func (f *fellows) Sync(ctx context.Context) []string {
	if f.replicas == nil {
		return nil
	}
	return f.replicas.Sync(ctx)
}

// Silent implements distribute.Others.
func (f *fellows) Silent() []string {
	if f.replicas == nil {
		return nil
	}
	return f.replicas.Silent()
}

// Endpoints implements distribute.Others.
func (f *fellows) Endpoints() []string {
	if f.replicas == nil {
		return nil
	}
	return f.replicas.Endpoints()
}

// Surplus implements distribute.Others.
func (f *fellows) Surplus() int {
	if f.replicas == nil {
		return 0
	}
	return f.replicas.Surplus()
}

// Mark implements nodeapi.Others.
func (f *fellows) Mark() string {
	if f.replicas == nil {
		return ""
	}
	return f.replicas.Mark()
}

// Report implements nodeapi.Others.
func (f *fellows) Report(ctx context.Context, r *nodev1.ReportDiscoveryRequest) (bool, error) {
	if f.replicas == nil {
		return false, nil
	}
	return f.replicas.Report(ctx, r)
}

// ReportExplanation implements nodeapi.Others.
func (f *fellows) ReportExplanation(ctx context.Context, r *nodev1.ReportExplanationRequest) (bool, error) {
	if f.replicas == nil {
		return false, nil
	}
	return f.replicas.ReportExplanation(ctx, r)
}

// dispatcher gives a task to a node of this control plane, or else of another one. It implements nodeapi.Dispatcher.
type dispatcher struct {
	streams *distribute.Server
	fellows *fellows
}

// Dispatch implements nodeapi.Dispatcher.
func (d dispatcher) Dispatch(ctx context.Context, t *distributionv1.Task) error {
	err := d.streams.Dispatch(ctx, t)
	if err == nil || d.fellows.replicas == nil || fault.From(err).Reason != distribute.ReasonNoNode {
		return err
	}
	return d.fellows.replicas.Dispatch(ctx, t)
}

// replicaTable gives replicas the table of control planes.
type replicaTable struct{ store *sqlstore.Store }

// Beat implements replicas.Table.
func (t replicaTable) Beat(ctx context.Context, own replicas.Row, first bool) ([]replicas.Row, time.Time, error) {
	live, now, err := t.store.Beat(ctx, sqlstore.Replica(own), first)
	return rows(live), now, err
}

// Live implements replicas.Table.
func (t replicaTable) Live(ctx context.Context) ([]replicas.Row, error) {
	live, err := t.store.Replicas(ctx)
	return rows(live), err
}

// Leave implements replicas.Table.
func (t replicaTable) Leave(ctx context.Context, id string) error { return t.store.Leave(ctx, id) }

func rows(list []sqlstore.Replica) []replicas.Row {
	out := make([]replicas.Row, len(list))
	for i, r := range list {
		out[i] = replicas.Row(r)
	}
	return out
}

// guard refuses writes that would follow a log which lost revisions. The feed is made after the store that asks it.
type guard struct{ feed atomic.Pointer[feed.Feed] }

func (g *guard) check(ctx context.Context, head catalog.Head) error {
	f := g.feed.Load()
	if f == nil {
		return nil
	}
	return f.Guard(ctx, head)
}

// newFellows returns the other control planes, none known yet, and who this one is among them.
func (p *ControlPlane) newFellows(store *sqlstore.Store) *fellows {
	name := p.replicaName()
	if !p.shared(store) {
		return &fellows{id: name}
	}
	return &fellows{id: replicas.NewID(name)}
}

// shared reports whether there may be other control planes: they need one database and a port at which they meet.
func (p *ControlPlane) shared(store *sqlstore.Store) bool {
	return store.Shared() && p.c.Nodes.Listen != ""
}

// openReplicas makes what knows the other control planes.
func (p *ControlPlane) openReplicas(r *rooms, f *fellows) error {
	if !p.shared(r.store) {
		return nil
	}
	config, err := tlsx.Client(p.identity.source, p.c.TLS.TrustDomain, ident.RoleControlPlane)
	if err != nil {
		return fmt.Errorf("set up mutual TLS to other control planes: %w", err)
	}
	r.replicas, err = replicas.New(replicas.Config{
		ID: f.id, Address: p.address, Credentials: credentials.NewTLS(config), Table: replicaTable{r.store}, Ledger: r.streams,
		Log: r.feed, Deliver: func(m *nodev1.ReportDiscoveryRequest) { r.nodes.Deliver(m) },
		DeliverExplanation: func(m *nodev1.ReportExplanationRequest) { r.nodes.DeliverExplanation(m) }, Logger: p.c.Telemetry.Log, Window: p.c.Nodes.Drain,
	})
	f.replicas = r.replicas
	return err
}

// replicasTask says that this control plane lives and follows the others.
func (*ControlPlane) replicasTask(r *rooms) run.Task {
	return run.Task{Name: "other control planes", Run: func(ctx context.Context) error {
		if r.replicas == nil {
			return nil
		}
		return r.replicas.Run(ctx)
	}}
}

// replicaName returns the name of this control plane: that in its certificate, or of the host.
func (p *ControlPlane) replicaName() string {
	if p.identity.self.Name != "" {
		return p.identity.self.Name
	}
	if pair, err := tls.LoadX509KeyPair(p.c.TLS.Cert, p.c.TLS.Key); err == nil {
		if w, err := ident.FromCertificate(pair.Leaf); err == nil {
			return w.Name
		}
	}
	host, _ := os.Hostname() // without one it is called like its role
	return plainName(host)
}

// advertised returns where others reach the node stream that listens on an address.
func advertised(setting string, listens net.Addr) string {
	if setting != "" {
		return setting
	}
	host, port, err := net.SplitHostPort(listens.String())
	if err != nil {
		return listens.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}
