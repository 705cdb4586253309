// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Two authservers that start at the same moment, on one empty database and one key file that is not there yet, both come up,
// and each reads what the other sealed. How they meet is chance, so it is done some times.
func TestStartTogether(t *testing.T) {
	pg := pgtest.Start(t)
	for range 5 {
		database, h := pg.Database(t), newHouse(t)
		var configs [2]authserver.Config
		for i, name := range []string{"one", "two"} {
			c := h.config(t)
			c.Database, c.Data.Dir, c.OpsListener = obs.Secret(database), filepath.Join(h.dir, name), listener(t)
			configs[i] = c
		}
		servers, stop := startTogether(t, configs)
		for _, c := range configs {
			awaitReady(t, "http://"+c.OpsListener.Addr().String())
		}
		for i, s := range servers {
			version := put(t, local(s, ident.RoleControlPlane))
			if got, err := resolve(t, local(servers[1-i], ident.RoleNode), version); err != nil || got != canary {
				t.Errorf("what server %d sealed, the other one resolved as %q (error %v)", i, got, err)
			}
		}
		stop()
		if made := strings.Count(h.log.String(), "key file created"); made != 1 {
			t.Errorf("%d servers say that they made the key file", made)
		}
		noCanary(t, h)
	}
}

// startTogether runs both servers from one moment on. The returned function stops them and waits.
func startTogether(t *testing.T, configs [2]authserver.Config) (servers [2]*authserver.Server, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	begin, ended := make(chan struct{}), make(chan error, len(configs))
	for i, c := range configs {
		s, err := authserver.New(c)
		must(t, err)
		servers[i] = s
		go func() {
			<-begin
			ended <- s.Run(ctx)
		}()
	}
	close(begin)
	stop = sync.OnceFunc(func() {
		cancel()
		for range configs {
			if err := <-ended; err != nil {
				t.Errorf("a server ended with %v", err)
			}
		}
	})
	t.Cleanup(stop)
	return servers, stop
}

// awaitReady returns when the ops page says that the server is ready.
func awaitReady(t *testing.T, ops string) {
	t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(startWithin)
	defer tick.Stop()
	for {
		r, err := http.Get(ops + "/readyz")
		if err == nil {
			must(t, r.Body.Close())
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is not ready: %v", ops, err)
		}
	}
}
