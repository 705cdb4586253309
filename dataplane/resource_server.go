// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/follow"
	"github.com/penstockhq/penstock/dataplane/internal/issuer"
	"github.com/penstockhq/penstock/dataplane/internal/providers"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/node"
)

// documents fetches the documents of the authserver over its credential API.
type documents struct{ credentials *credential.Client }

func (d documents) fetch(ctx context.Context) (issuer.Document, error) {
	id, metadata, jwks, err := d.credentials.Issuer(ctx)
	return issuer.Document{Issuer: id, Metadata: metadata, JWKS: jwks}, err
}

// revocations are taken by the view; where a signing key is among them, another one signs from now on.
type revocations struct {
	compiler *follow.Compiler
	issuer   *issuer.Keeper
}

func (r revocations) take(ctx context.Context, entries []*distributionv1.Revocation) {
	r.compiler.Revoke(ctx, entries)
	for _, e := range entries {
		if e.GetKind() == distributionv1.RevocationKind_REVOCATION_KIND_KEY {
			r.issuer.Refresh()
			return
		}
	}
}

// openProviders makes what keeps the keys of identity providers.
func (n *Node) openProviders(r *rooms) error {
	failed, err := keyFailures(n.c.Telemetry)
	if err != nil {
		return err
	}
	guard, _ := n.c.Egress.policy() // validate has read it
	r.providers, err = providers.New(providers.Config{View: r.holder, Egress: guard, Failed: failed, File: filepath.Join(n.c.Data.Dir, "providers.json"), Log: n.c.Telemetry.Log})
	return err
}

// health says whether the node may serve. It is asked by every request, so what the follower knows is read at most twice a
// second.
type health struct {
	node     *Node
	follower *node.Client
	last     atomic.Pointer[reading]
}

// reading is what the follower knew at a time.
type reading struct {
	at     time.Time
	status node.Status
}

const readingLife = 500 * time.Millisecond

func (h *health) status() *node.Status {
	r := h.last.Load()
	if r == nil || time.Since(r.at) > readingLife {
		r = &reading{time.Now(), h.follower.Status()}
		h.last.Store(r)
	}
	return &r.status
}

const (
	watchEvery    = 5 * time.Second
	degradedAfter = 60 * time.Second // RS-12, D-62
	alarmAfter    = 24 * time.Hour
)

// watch tells the log when the node becomes degraded, when that has lasted for a day, and when it is over (D-62).
func (h *health) watch(ctx context.Context) error {
	return watchSilence(ctx, h.node.c.Telemetry.Log, h.StaleFor)
}

func watchSilence(ctx context.Context, log *slog.Logger, staleFor func() time.Duration) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	told := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch silent := staleFor(); {
		case silent <= degradedAfter:
			if told > 0 {
				log.InfoContext(ctx, "control plane heard again")
			}
			told = 0
		case silent > alarmAfter && told < alarmAfter:
			log.ErrorContext(ctx, "node degraded for a day: no news from a control plane", obs.AttrDuration, silent)
			told = silent
		case told == 0:
			log.WarnContext(ctx, "node degraded: no news from a control plane", obs.AttrDuration, silent)
			told = silent
		}
	}
}

// StaleFor implements edge.Health.
func (h *health) StaleFor() time.Duration {
	s := h.status()
	if s.Connected || s.LastHeartbeat.IsZero() {
		return 0
	}
	return time.Since(s.LastHeartbeat)
}

// Skewed implements edge.Health.
func (h *health) Skewed() bool { return h.status().Skew }

// Draining implements edge.Health.
func (h *health) Draining() bool { return h.node.draining.Load() }
