// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Bans is the workloads that are shut out, as the revocations of the node stream say (D-81). It is safe for concurrent use.
type Bans struct {
	mu     sync.RWMutex
	banned map[[sha256.Size]byte]time.Time // SHA-256 of the SPIFFE id → end of the ban
}

// NewBans returns an empty set.
func NewBans() *Bans { return &Bans{banned: make(map[[sha256.Size]byte]time.Time)} }

// Take implements [node.Config.Revocations]: what is about tokens is nothing to an authserver, which made them.
func (b *Bans) Take(_ context.Context, entries []*distributionv1.Revocation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		if e.GetKind() != distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD || len(e.GetKeySha256()) != sha256.Size {
			continue
		}
		key, end := [sha256.Size]byte(e.GetKeySha256()), e.GetExpireTime().AsTime()
		if end.After(b.banned[key]) {
			b.banned[key] = end
		}
	}
}

// Banned reports whether a workload is shut out.
func (b *Bans) Banned(w ident.Workload) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return time.Now().Before(b.banned[sha256.Sum256([]byte(w.URI()))])
}
