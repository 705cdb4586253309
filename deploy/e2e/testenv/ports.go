// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// ports are the addresses of an environment, host:port.
type ports struct {
	admin, nodeStream, controlplaneOps string
	issuer, credential, authserverOps  string
	nodes                              []nodePorts
}

type nodePorts struct{ mcp, ops string }

func freePorts(t testing.TB, c Config) ports {
	t.Helper()
	p := ports{
		admin: freePort(t), nodeStream: freePort(t), controlplaneOps: freePort(t),
		issuer: freePort(t), credential: freePort(t), authserverOps: freePort(t),
	}
	for range c.Nodes {
		p.nodes = append(p.nodes, nodePorts{freePort(t), freePort(t)})
	}
	return p
}

// The servers open their addresses themselves, and open them again after a restart. These ports are below those that
// the system gives to clients, so that nobody gets one by chance in between.
const firstPort, lastPort = 15_000, 30_000

// nextPort counts up from a random port and never gives one twice in a process: tests run in parallel, and one may have
// been given a port that it opens only later.
var nextPort = func() *atomic.Int64 { //nolint:gochecknoglobals // tests of a process share its ports
	n := new(atomic.Int64)
	n.Store(rand.Int64N(lastPort - firstPort))
	return n
}()

func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := firstPort + nextPort.Add(1)%(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no free port after 100 attempts")
	return ""
}
