// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// Key names one resource: Kind is "server", "connection", "tool", "gateway", "assignment", "team", "user",
// "bearer_token", "identity_provider", "oauth_client", "policy" or "result_policy" (in denials also "team_member" with name
// "<team>/<user>"), Name is unique within the kind; an assignment's is "<gateway>/<tool>".
type Key = replica.Key

// Body is a tool's definition, kept compressed until somebody asks for its bytes.
type Body = bodies.Body

// State is a read-only set of resources at one revision. It may be read until the [Applier.Apply] that was given it
// returns, by several goroutines; what Get, Range and Blob returned may be kept for ever, and must not be changed.
type State interface {
	// Get returns a resource, nil if there is none. Each call decodes it anew: the state holds encoded bytes only.
	Get(kind, name string) *distributionv1.Resource
	// Range calls fn for every resource of a kind, in no order, until fn returns false.
	Range(kind string, fn func(*distributionv1.Resource) bool)
	// Names calls fn for the name of every resource of a kind, in no order, until fn returns false. Nothing is decoded.
	Names(kind string, fn func(name string) bool)
	// Blob returns the body with that SHA-256, nil if no resource of the state needs it. It is held once, compressed,
	// whatever the number of resources and states that need it: keep the Body, not its bytes.
	Blob(hash [sha256.Size]byte) *Body
	// Epoch returns the lineage of the revision log, a UUID.
	Epoch() string
	// Revision returns the revision of the state.
	Revision() uint64
}

// Reject names a resource that did not compile. Version is its SHA-256, 32 bytes; Reason a stable UPPER_SNAKE word,
// Detail a sentence for people.
type Reject struct {
	Key     Key
	Version []byte
	Reason  string
	Detail  string
}

// Applier enforces states.
type Applier interface {
	// Apply compiles and swaps the given state; touched is nil for a full state, else the keys that were changed or
	// removed since the state before. The state is enforced when Apply returns: new calls are decided by it. The rejects
	// name what did not compile; the applier keeps their previous compiled form, and applies the rest. If atomic, a single
	// reject keeps the previous form of all touched resources that are still there; removals apply in any case (D-35).
	// Apply is never called by two goroutines at once.
	Apply(ctx context.Context, s State, touched []Key, atomic bool) []Reject
	// Deny enforces denials at once: the keys are refused until a state with that revision or a later one is applied
	// (D-30). It must not block, and it may be called while Apply runs, because a denial waits for nothing.
	Deny(ctx context.Context, revision uint64, keys []Key)
}

// TaskHandler does a job for the control plane; the result goes to penstock.node.v1 (see [Client.NodeService]). It runs
// in a goroutine of its own, at most eight at a time; ctx ends with the client.
type TaskHandler func(ctx context.Context, task *distributionv1.Task)

// Config is what a Client needs.
type Config struct {
	// Endpoints are the control planes, host:port each, in order of preference. Required.
	Endpoints []string
	// DialOptions hold at least the transport credentials. Required.
	DialOptions []grpc.DialOption
	// Dir is the folder of the last known good state; empty keeps nothing on disk.
	Dir string
	// SealKey seals the files in Dir, 32 bytes. Required with Dir.
	SealKey []byte
	// Applier enforces what arrives. Required.
	Applier Applier
	// Tasks takes jobs; nil drops them.
	Tasks TaskHandler
	// Revocations takes revoked access tokens (D-32): once with those on disk that have not expired, before Run looks for a
	// control plane, then with those of each arrival that were not known; an entry that comes again says more than before.
	// They are enforced when it returns. It is called by one goroutine at a time, and must not block: everything else that
	// arrives waits for it. It must keep an entry until its expire_time itself. Nil drops them.
	Revocations func(ctx context.Context, entries []*distributionv1.Revocation)
	// Build is the version of this program, for example "0.1.0".
	Build string
	// Capabilities are the features this program enforces, for example "bearer_token".
	Capabilities []string
	// Log takes life-cycle lines. Required.
	Log *slog.Logger
	// Meter makes the metrics; nil makes none.
	Meter metric.MeterProvider
	// Now is the wall clock, compared with the control plane's for [Status.Skew]; nil means time.Now.
	Now func() time.Time
	// Jitter returns a duration in [0, limit) for the full-jitter backoff; nil means a random one.
	Jitter func(limit time.Duration) time.Duration
}

func (c Config) validate() error {
	switch {
	case len(c.Endpoints) == 0:
		return fmt.Errorf("make node client: no endpoint of a control plane is given")
	case c.Applier == nil:
		return fmt.Errorf("make node client: no applier is given")
	case c.Log == nil:
		return fmt.Errorf("make node client: no logger is given")
	case c.Dir != "" && len(c.SealKey) != sealKeySize:
		return fmt.Errorf("make node client: the seal key has %d bytes, not %d", len(c.SealKey), sealKeySize)
	}
	return nil
}

// Status is what a client knows of itself, for /readyz and metrics.
type Status struct {
	// Connected is true while a stream is open and a control plane was heard within 15 s.
	Connected bool
	// Endpoint is the control plane of the open stream; empty without one.
	Endpoint string
	// LastHeartbeat is when a control plane was last heard, on the monotonic clock; zero if never since the start, unless
	// the disk says when, before.
	LastHeartbeat time.Time
	// Epoch and Revision are what is enforced; empty and 0 before anything is.
	Epoch    string
	Revision uint64
	// Digest is that of the state at Revision (D-14): nodes of one scope at one revision have the same.
	Digest digest.Digest
	// DenyRevision is the latest denial enforced.
	DenyRevision uint64
	// Loaded is true once a complete state is enforced, from disk or from a control plane: the node is ready (D-61).
	Loaded bool
	// Stale is true if no control plane was heard for 60 s (D-62). The node goes on serving.
	Stale bool
	// Skew is true if this host's clock differs from the control plane's by more than 30 s (D-54): the node is unready.
	Skew bool
	// SkewBy is the difference last seen, positive if this host is ahead.
	SkewBy time.Duration
	// RevocationSeq is the latest revocation enforced, in the sequence of the control plane that was followed last.
	RevocationSeq uint64
	// Revocations is the number of revocations known, some of which may have expired within the last minute.
	Revocations int
	// Rejects is the number of resources whose newest version did not compile.
	Rejects int
}
