// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
)

// sequence is a store's revocations as the composition root gives them to the room.
type sequence struct{ *sqlstore.Store }

func (s sequence) Revoke(ctx context.Context, list []distribute.Revocation) error {
	var entries []sqlstore.Revocation
	for _, e := range list {
		entries = append(entries, sqlstore.Revocation(e))
	}
	return s.Store.Revoke(ctx, entries)
}

func (s sequence) Revocations(ctx context.Context, after uint64, limit int) (distribute.RevocationPage, error) {
	head, list, err := s.Store.Revocations(ctx, after, limit)
	page := distribute.RevocationPage{Epoch: head.Epoch, Head: head.Seq}
	for _, e := range list {
		page.Entries = append(page.Entries, distribute.Revocation(e))
	}
	return page, err
}

func openStore(t *testing.T, dsn string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func sqliteFile(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "controlplane.db")
}

// startRevoking runs a control plane with revocations.
func startRevoking(t *testing.T, dsn string) *plane {
	t.Helper()
	store := openStore(t, dsn)
	return startPlane(t, store, func(c *distribute.Config) { c.Revocations = sequence{store} })
}

func shaOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// grant is the revocation of a grant, for an hour.
func grant(name string) *distributionv1.Revocation {
	return &distributionv1.Revocation{
		Kind: distributionv1.RevocationKind_REVOCATION_KIND_GRANT, KeySha256: shaOf(name), ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
	}
}

func publish(t *testing.T, c distributionv1.DistributionServiceClient, list ...*distributionv1.Revocation) {
	t.Helper()
	if _, err := c.PublishRevocations(t.Context(), &distributionv1.PublishRevocationsRequest{Revocations: list}); err != nil {
		t.Fatal(err)
	}
}

// has waits until a node was told of a revocation.
func (s *sim) has(name string) {
	s.tb.Helper()
	s.view.await(s.tb, name+" revoked", func() bool { return s.view.revoked[string(shaOf(name))] > 0 })
}

// times returns how often a node was told of a revocation.
func (s *sim) times(name string) (n int) {
	s.view.lock(func() { n = s.view.revoked[string(shaOf(name))] })
	return n
}

// TestPublishRefuses: only authservers publish, and only what means something.
func TestPublishRefuses(t *testing.T) {
	p := startRevoking(t, sqliteFile(t))
	subject := grant("a")
	subject.Kind = distributionv1.RevocationKind_REVOCATION_KIND_SUBJECT
	dated := grant("a")
	dated.IssuedBefore = timestamppb.Now()
	short := grant("a")
	short.KeySha256 = short.GetKeySha256()[:31]
	ban := grant("a")
	ban.Kind = distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD
	endless := grant("a")
	endless.ExpireTime = nil
	for _, tt := range []struct {
		name string
		node bool
		list []*distributionv1.Revocation
		code codes.Code
	}{
		{"by a node", true, []*distributionv1.Revocation{grant("a")}, codes.PermissionDenied},
		{"none", false, nil, codes.InvalidArgument},
		{"too many", false, slices.Repeat([]*distributionv1.Revocation{grant("a")}, 1001), codes.InvalidArgument},
		{"a subject without a time", false, []*distributionv1.Revocation{subject}, codes.InvalidArgument},
		{"a grant with a time", false, []*distributionv1.Revocation{dated}, codes.InvalidArgument},
		{"a ban", false, []*distributionv1.Revocation{ban}, codes.InvalidArgument},
		{"a short key", false, []*distributionv1.Revocation{short}, codes.InvalidArgument},
		{"no end", false, []*distributionv1.Revocation{endless}, codes.InvalidArgument},
		{"as many as may be", false, slices.Repeat([]*distributionv1.Revocation{grant("a")}, 1000), codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := authserver("a1")
			if tt.node {
				who = workload("n1", "eu")
			}
			_, err := raw(t, p, who).PublishRevocations(t.Context(), &distributionv1.PublishRevocationsRequest{Revocations: tt.list})
			if status.Code(err) != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

// TestRevocationsFirst: what was revoked goes before a snapshot and before deltas, and what the cursor has not at all.
func TestRevocationsFirst(t *testing.T) {
	p := startRevoking(t, sqliteFile(t))
	rev := p.write(feedtest.Shop()...)
	from := raw(t, p, authserver("a1"))
	known := grant("a")
	publish(t, from, known, grant("b"))
	publish(t, from, known)
	live := startNode(t, p, "live", "eu", nil)
	live.has("b")
	live.at(rev)
	live.view.lock(func() {
		if live.view.order[0] != "revoked 2" {
			t.Errorf("came in the order %v", live.view.order)
		}
	})
	older := live.digest(rev)
	publish(t, from, grant("c"))
	live.has("c")
	next := p.write(feedtest.User("bob@example.com", "1"))
	live.at(next)
	digest, epoch := live.digest(next), p.feed.Head().Epoch

	for _, tt := range []struct {
		name  string
		hello *distributionv1.Hello
		kinds string
		first int // entries of the first message, if it is of revocations
	}{
		{"nothing", &distributionv1.Hello{}, "revocations revocations begin", 2},
		{
			"an older state and an older sequence",
			&distributionv1.Hello{Epoch: epoch, Revision: uint64(rev), RevocationEpoch: epoch, RevocationSeq: 2}, "revocations heartbeat delta", 1,
		},
		{
			"all but the newest revocation",
			&distributionv1.Hello{Epoch: epoch, Revision: uint64(next), Digest: digest, RevocationEpoch: epoch, RevocationSeq: 2}, "revocations heartbeat", 1,
		},
		{
			"all", &distributionv1.Hello{Epoch: epoch, Revision: uint64(next), Digest: digest, RevocationEpoch: epoch, RevocationSeq: 3},
			"heartbeat", 0,
		},
		{
			"a sequence of another epoch",
			&distributionv1.Hello{Epoch: epoch, Revision: uint64(next), Digest: digest, RevocationEpoch: "other", RevocationSeq: 3},
			"revocations revocations heartbeat", 2,
		},
		{
			"more than there is",
			&distributionv1.Hello{Epoch: epoch, Revision: uint64(next), Digest: digest, RevocationEpoch: epoch, RevocationSeq: 99},
			"revocations revocations heartbeat", 2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.hello.Protocol = 1
			if tt.hello.Revision == uint64(rev) {
				tt.hello.Digest = older
			}
			s, err := raw(t, p, workload("raw", "eu")).Follow(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(hello(tt.hello)); err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for i := range strings.Fields(tt.kinds) {
				m, err := s.Recv()
				if err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, kindOf(m))
				if r := m.GetRevocations(); i == 0 && (len(r.GetEntries()) != tt.first || r != nil && r.GetEpoch() != epoch) {
					t.Errorf("the first message: %v", m)
				}
			}
			if got := strings.Join(kinds, " "); got != tt.kinds {
				t.Errorf("got %q, want %q", got, tt.kinds)
			}
			if err := s.CloseSend(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRevocationsResume: a node that was away gets what it missed, once, and keeps what it has when the sequence is another
// one.
func TestRevocationsResume(t *testing.T) {
	p := startRevoking(t, sqliteFile(t))
	from := raw(t, p, authserver("a1"))
	n := startNode(t, p, "n1", "eu", nil)
	a := startNode(t, p, "a1", "eu", as(authserver("a2")))
	publish(t, from, grant("one"))
	n.has("one")
	a.has("one") // of every scope
	n.move(nil)
	publish(t, from, grant("two"))
	n.move(p)
	n.has("two")

	other := startRevoking(t, sqliteFile(t)) // another epoch, whose sequence begins anew
	publish(t, raw(t, other, authserver("a1")), grant("three"))
	n.move(other)
	n.has("three")
	for _, name := range []string{"one", "two", "three"} {
		if got := n.times(name); got != 1 {
			t.Errorf("%s came %d times", name, got)
		}
	}
	if s := n.client.Status(); s.Revocations != 3 || s.RevocationSeq != 1 {
		t.Errorf("%d revocations up to %d", s.Revocations, s.RevocationSeq)
	}
}

// TestRevocationsOfAnotherReplica: what is handed in at one control plane reaches the nodes of another one.
func TestRevocationsOfAnotherReplica(t *testing.T) {
	for name, dsn := range map[string]string{"SQLite": sqliteFile(t), "PostgreSQL": pgtest.New(t)} {
		t.Run(name, func(t *testing.T) {
			p, q := startRevoking(t, dsn), startRevoking(t, dsn)
			n := startNode(t, q, "n1", "eu", nil)
			n.at(0)
			from := raw(t, p, authserver("a1"))
			for i := range 5 {
				start := time.Now()
				publish(t, from, grant(fmt.Sprint(i)))
				n.has(fmt.Sprint(i))
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			}
			if got := q.server.Nodes(); len(got) != 1 {
				t.Errorf("%v", got)
			}
		})
	}
}

// TestRevocationsMerged: however many were handed in one by one, a node that has none gets few messages with all of them.
func TestRevocationsMerged(t *testing.T) {
	const count = 300
	p := startRevoking(t, sqliteFile(t))
	from := raw(t, p, authserver("a1"))
	n := startNode(t, p, "n1", "eu", nil)
	for i := range count {
		publish(t, from, grant(fmt.Sprint(i)))
		n.has(fmt.Sprint(i)) // so that each is a message of its own
	}
	s, err := raw(t, p, workload("raw", "eu")).Follow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(hello(&distributionv1.Hello{Protocol: 1})); err != nil {
		t.Fatal(err)
	}
	messages, entries, last := 0, map[string]bool{}, uint64(0)
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetRevocations() == nil {
			break
		}
		messages++
		for _, e := range m.GetRevocations().GetEntries() {
			entries[string(e.GetKeySha256())] = true
		}
		if to := m.GetRevocations().GetToSeq(); to <= last {
			t.Errorf("%d after %d", to, last)
		} else {
			last = to
		}
	}
	if len(entries) != count || messages > 66 || last != count {
		t.Errorf("%d entries in %d messages up to %d", len(entries), messages, last)
	}
	late := startNode(t, p, "late", "eu", nil)
	late.has(fmt.Sprint(count - 1))
	for i := range count {
		if n.times(fmt.Sprint(i)) != 1 || late.times(fmt.Sprint(i)) != 1 {
			t.Fatalf("%d came %d and %d times", i, n.times(fmt.Sprint(i)), late.times(fmt.Sprint(i)))
		}
	}
}

// TestRevocationsUnderLoad is RS-12: while the configuration changes all the time, a revocation is enforced on every node
// within 5 s, p99. There are as many changes as the machine takes: 200 a second, unless the nodes are far behind with them.
func TestRevocationsUnderLoad(t *testing.T) {
	const nodes, count, behind = 20, 100, 100
	p := startRevoking(t, sqliteFile(t))
	first := p.write(feedtest.Tools("big", 200)...)
	from := raw(t, p, authserver("a1"))
	var all []*sim
	for i := range nodes {
		all = append(all, startNode(t, p, fmt.Sprint("n", i), "eu", nil))
	}
	for _, n := range all {
		n.at(first)
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		churn.Wait()
	})
	defer end() // also of a test that has failed
	var last catalog.Revision
	churn.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if last < first+behind || p.server.Enforced(last-behind) {
				last = feedtest.Write(t, p.store, feedtest.User("u@example.com", fmt.Sprint(i)))
			}
		}
	})
	var took []time.Duration
	for i := range count {
		start := time.Now()
		publish(t, from, grant(fmt.Sprint(i)))
		for _, n := range all {
			n.has(fmt.Sprint(i))
		}
		took = append(took, time.Since(start))
	}
	end()
	if last == 0 {
		t.Error("nothing changed meanwhile")
	}
	slices.Sort(took)
	t.Logf("enforced on %d nodes beside %d changes: p50 %s, p99 %s, max %s", nodes, last-first, took[count/2], took[count*99/100-1], took[count-1])
	if p99 := took[count*99/100-1]; p99 > 5*time.Second {
		t.Errorf("p99 is %s", p99)
	}
	for _, n := range p.server.Nodes() {
		if n.Connected && n.Name == "n0" && n.Revoked == 0 {
			t.Error("no ack of a revocation came")
		}
	}
}

func kindOf(m *distributionv1.FollowResponse) string {
	switch {
	case m.GetRevocations() != nil:
		return "revocations"
	case m.GetSnapshotBegin() != nil:
		return "begin"
	case m.GetDelta() != nil:
		return "delta"
	case m.GetHeartbeat() != nil:
		return "heartbeat"
	default:
		return "other"
	}
}
