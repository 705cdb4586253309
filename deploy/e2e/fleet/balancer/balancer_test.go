// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/balancer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend says its name to each connection and waits for its end.
func backend(t *testing.T, name string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = fmt.Fprintln(c, name)            // the client may have gone
				_, _ = bufio.NewReader(c).ReadString(0) // until the end
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // some are closed by the test
		work.Wait()
	})
	return l
}

// TestBalancer: connections go round robin, a backend that is gone is passed over, and it is known who has which.
func TestBalancer(t *testing.T) {
	one, two := backend(t, "one"), backend(t, "two")
	b, err := balancer.New(t.Context(), one.Addr().String(), two.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // before the backends, which wait for it
	ask := func() (name, route string) {
		t.Helper()
		c, err := net.Dial("tcp", b.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fscan(c, &name); err != nil {
			t.Fatal(err)
		}
		r, ok := b.Route(c.LocalAddr().String(), time.Now())
		if !ok {
			t.Errorf("no route of %s", c.LocalAddr())
		}
		return name, r.Backend
	}
	for i, want := range []net.Listener{one, two, one, two} {
		name, route := ask()
		if got := []string{"one", "two"}[i%2]; name != got || route != want.Addr().String() {
			t.Errorf("connection %d went to %s, and the balancer says %s", i, name, route)
		}
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if name, _ := ask(); name != "two" {
			t.Errorf("a connection went to %s, which is gone", name)
		}
	}
}
