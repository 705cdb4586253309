// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"net/netip"
	"net/url"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/remote"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// mute is a resolver that never answers.
type mute struct{}

// LookupNetIP implements egress.Resolver.
func (mute) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// CIMD-6: to find a host and connect to it takes 2 s at most, of the 5 s in all.
func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := remote.New(remote.Config[string]{
			Parse: func(_ string, body []byte) (string, error) { return string(body), nil }, MaxBytes: 1 << 10, MaxEntries: 2, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("https://client.example/c")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = c.Get(t.Context(), remote.Request{URL: u, Policy: egress.Policy{Resolver: mute{}}})
		if took := time.Since(began); err == nil || took != 2*time.Second {
			t.Errorf("given up after %s: %v", took, err)
		}
	})
}

// TestMain runs all tests with a proxy in the environment, where nobody is (CIMD-6): it would resolve names again, and connect
// to what we must not. net/http reads it once for the process, so that no single test can set it.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if err := os.Setenv(name, "http://192.0.2.1:9"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
