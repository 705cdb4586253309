// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto/sha256"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// A token out of the cache expires like any other, and the cache is bounded.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := newSigner(t), withOAuth(t)
		clock := now()
		c := config()
		c.Issuer, c.Now = s, func() time.Time { return clock }
		a := newAuthenticator(t, c)
		token := s.sign(t, claims(nil), nil)
		for range 3 {
			if _, err := authenticate(a, h, "eng", token); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.asked) != 1 {
			t.Errorf("the signature was checked %d times", len(s.asked))
		}
		clock = clock.Add(16*time.Minute + time.Second)
		if _, err := authenticate(a, h, "eng", token); fault.From(err).Reason != ReasonTokenExpired {
			t.Errorf("got %v", err)
		}
	})
	var c cache[verified]
	for i := range 3 * maxCached {
		c.put(sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}), &verified{})
	}
	total := 0
	for i := range c.shards {
		total += len(c.shards[i].young) + len(c.shards[i].old)
	}
	if total > maxCached {
		t.Errorf("%d tokens are kept", total)
	}
}

// P-8: a token that was verified costs a look-up.
func TestCachedTokenAllocatesLittle(t *testing.T) {
	s, h := newSigner(t), withOAuth(t)
	c := config()
	c.Issuer = s
	a := newAuthenticator(t, c)
	r := httptest.NewRequest("POST", "/v1/mcp/eng", nil)
	r.Header.Set("Authorization", "Bearer "+s.sign(t, claims(nil), nil))
	snapshot := h.holder.Load()
	g := snapshot.Gateway("eng")
	got := testing.AllocsPerRun(100, func() {
		if _, err := a.Authenticate(snapshot, g, r); err != nil {
			t.Fatal(err)
		}
	})
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkAccessToken(b *testing.B) {
	s, h := newSigner(b), withOAuth(b)
	c := config()
	c.Issuer = s
	r := httptest.NewRequest("POST", "/v1/mcp/eng", nil)
	r.Header.Set("Authorization", "Bearer "+s.sign(b, claims(nil), nil))
	snapshot := h.holder.Load()
	g := snapshot.Gateway("eng")
	b.Run("cached", func(b *testing.B) {
		a := newAuthenticator(b, c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Authenticate(snapshot, g, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a := newAuthenticator(b, c)
			if _, err := a.Authenticate(snapshot, g, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// FuzzToken has no text accepted that the signer did not make, and none break anything.
func FuzzToken(f *testing.F) {
	s, h := newSigner(f), withOAuth(f)
	valid := s.sign(f, claims(nil), nil)
	for _, seed := range []string{valid, valid + "x", "eyJ.eyJ.", "..", "pst_u_", strings.ToUpper(valid), "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	h.holder.Publish(view.From(h.holder.Load().View).Build("epoch", 3))
	c := config()
	c.Issuer = s
	a := newAuthenticator(f, c)
	f.Fuzz(func(t *testing.T, token string) {
		_, err := authenticate(a, h, "eng", token)
		if (err == nil) != (strings.Trim(token, " ") == valid) {
			t.Fatalf("%q: %v", token, err)
		}
		if err != nil && len(token) > 20 && strings.Contains(err.Error(), token) {
			t.Fatalf("the error holds the token: %v", err)
		}
	})
}
