// SPDX-License-Identifier: Apache-2.0

package plant

import (
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Links are the ways from one process to its peers, through proxies that can be cut.
type Links struct {
	tb      testing.TB
	server  *toxiproxy.ApiServer
	proxies []*toxiproxy.Proxy
}

func newLinks(tb testing.TB) *Links {
	l := &Links{tb: tb, server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
	tb.Cleanup(func() {
		for _, p := range l.proxies {
			p.Stop()
		}
	})
	return l
}

// through returns an address, host:port, that leads to another one as long as the link is whole.
func (l *Links) through(address string) string {
	l.tb.Helper()
	p := toxiproxy.NewProxy(l.server, address, "127.0.0.1:0", address)
	if err := p.Start(); err != nil {
		l.tb.Fatalf("proxy to %s: %v", address, err)
	}
	l.proxies = append(l.proxies, p)
	return p.Listen
}

// Cut breaks all connections and refuses new ones, as a host that is down.
func (l *Links) Cut() {
	for _, p := range l.proxies {
		p.Stop()
	}
}

// Restore ends Cut or Swallow.
func (l *Links) Restore() {
	l.tb.Helper()
	for _, p := range l.proxies {
		p.Toxics.ResetToxics(l.tb.Context())
		if err := p.Start(); err != nil && err.Error() != toxiproxy.ErrProxyAlreadyStarted.Error() {
			l.tb.Errorf("restore the link to %s: %v", p.Upstream, err)
		}
	}
}

// Swallow lets all connections stay open and nothing come through, as a network that drops packets.
func (l *Links) Swallow() {
	l.tb.Helper()
	for _, p := range l.proxies {
		for _, stream := range []string{"upstream", "downstream"} {
			_, err := p.Toxics.AddToxicJson(strings.NewReader(`{"name":"` + stream + `","type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`))
			if err != nil {
				l.tb.Errorf("swallow what goes to %s: %v", p.Upstream, err)
			}
		}
	}
}
