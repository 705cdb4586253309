// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"testing"
	"testing/synctest"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// TestArriving is M-91: from the claim of a stream until its upstreams are heard, or it is over, whoever would have them heard
// for something else can wait for it.
func TestArriving(t *testing.T) {
	for _, tt := range []struct {
		name string
		over func(r *region, s, elsewhere *session.Session, l *stream)
	}{
		{"heard", func(_ *region, s, _ *session.Session, l *stream) { s.Hears(l) }},
		{"its client has gone", func(r *region, s, _ *session.Session, l *stream) { s.Linger(r.t.Context(), l, func() {}) }},
		{"given up", func(r *region, s, _ *session.Session, l *stream) { s.Leave(r.t.Context(), l) }},
		{"taken by another node", func(r *region, _, elsewhere *session.Session, _ *stream) { elsewhere.Claim(r.t.Context()) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRegion(t, func(r *region) {
				a, _ := r.node("a")
				b, _ := r.node("b")
				id, s := r.create(a)
				elsewhere := r.open(b, id)
				arriving := func(m *session.Manager) <-chan struct{} {
					_, c := m.Where(s.Key())
					return c
				}
				if arriving(a) != nil {
					t.Error("a stream arrives that nobody has claimed")
				}
				s.Claim(r.t.Context())
				coming := arriving(a)
				if coming == nil || arriving(b) != nil {
					t.Fatal("a stream that was claimed does not arrive, or arrives at the other node")
				}
				l := &stream{}
				if err := s.Listen(r.t.Context(), l); err != nil {
					t.Fatal(err)
				}
				select {
				case <-coming:
					t.Error("a stream has arrived whose upstreams are not heard")
				default:
				}
				tt.over(r, s, elsewhere, l)
				synctest.Wait()
				select {
				case <-coming:
				default:
					t.Error("the stream is over, and is still waited for")
				}
				if arriving(a) != nil {
					t.Error("it still arrives")
				}
			})
		})
	}
}
