// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/sha256"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// A rotated token is in the view under both hashes, each with its own end; whatever replaces or takes it away leaves none of
// them (ST-6, ST-7).
func TestRotatedToken(t *testing.T) {
	holder, s := view.NewHolder(), newState(t)
	c := New(holder, nil)
	sum := func(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }
	end, soon := time.Now().Add(48*time.Hour).UTC(), time.Now().Add(time.Hour).UTC()
	put := func(secret, before string) node.Key {
		m := &resourcev1.BearerToken{
			Name: "laptop", Uid: "u", ExpireTime: timestamppb.New(end), Gateways: []string{"eng"},
			Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
		}
		now := sum(secret)
		if m.Sha256 = now[:]; before != "" {
			old := sum(before)
			m.PreviousSha256, m.PreviousExpireTime = old[:], timestamppb.New(soon)
			if before == "short" {
				m.PreviousSha256 = old[:31]
			}
		}
		return s.put(&distributionv1.Resource{Kind: "bearer_token", Name: "laptop", Body: &distributionv1.Resource_BearerToken{BearerToken: m}})
	}
	has := func(step string, want map[string]time.Time) {
		t.Helper()
		for _, secret := range []string{"a", "b", "c"} {
			token := holder.Load().Token(sum(secret))
			until, ok := want[secret]
			if (token != nil) != ok || ok && (!token.Expires.Equal(until) || token.UID != "u") {
				t.Errorf("%s: %q is %+v", step, secret, token)
			}
		}
	}
	k := put("a", "")
	c.Apply(t.Context(), s, nil, false)
	has("made", map[string]time.Time{"a": end})
	apply := func(step string, rejects int, want map[string]time.Time) {
		t.Helper()
		if got := c.Apply(t.Context(), s, []node.Key{k}, false); len(got) != rejects {
			t.Errorf("%s: rejected %v", step, got)
		}
		has(step, want)
	}
	put("b", "a")
	apply("rotated", 0, map[string]time.Time{"a": soon, "b": end})
	c.Apply(t.Context(), s, nil, false)
	has("all anew", map[string]time.Time{"a": soon, "b": end})
	put("c", "b")
	apply("rotated again", 0, map[string]time.Time{"b": soon, "c": end})
	put("a", "short")
	apply("a hash that is none", 1, map[string]time.Time{"b": soon, "c": end})
	holder.Deny(holder.Load().Revision+1, []view.Key{{Kind: "bearer_token", Name: "laptop"}})
	has("denied", nil)
	put("a", "")
	c.Apply(t.Context(), s, nil, false)
	put("b", "a")
	apply("rotated", 0, nil) // the denial stands until a view with its revision comes
	delete(s.resources, k)
	s.revision = holder.Load().Revision + 1
	apply("revoked", 0, nil)
	if n := len(c.tokens); n > 0 {
		t.Errorf("%d tokens are remembered", n)
	}
}
