// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/visitors"
	"github.com/penstockhq/penstock/sdk/admin"
)

// planes ends control planes in every way; calls must not notice, and admin writes find another one.
func (w *world) planes() {
	planes := w.plant.ControlPlanes
	w.run("control plane: rolling restart", func(s *scenario) {
		for _, p := range planes {
			s.drain(p)
			s.apply(s.toggled())
		}
	})
	w.run("control plane: kill -9", func(s *scenario) {
		for _, p := range planes {
			p.Kill()
			s.apply(s.toggled())
			s.again(p)
		}
	})
	w.run("control plane: hangs", func(s *scenario) { s.hang(planes[0]) })
	w.run("control planes: all killed", func(s *scenario) {
		for _, p := range planes {
			p.Kill()
		}
		s.wait(s.size.frozen)
		for _, p := range planes {
			p.Start()
		}
		for _, p := range planes {
			s.row.Recovery = max(s.row.Recovery, seconds(p.Ready()))
		}
	})
}

// authservers ends authservers in every way; calls with a credential in memory do not notice, and others find another one.
func (w *world) authservers() {
	w.run("authserver: rolling restart", func(s *scenario) {
		for _, p := range s.plant.Authservers {
			s.drain(p)
			s.fresh("after the drain of " + p.Name)
		}
	})
	w.run("authserver: kill -9", func(s *scenario) {
		for _, p := range s.plant.Authservers {
			p.Kill()
			s.fresh("without " + p.Name)
			s.again(p)
		}
	})
	w.run("authserver: hangs", func(s *scenario) { s.hang(s.plant.Authservers[0]) })
}

// toggled is what toggle applies.
func (w *world) toggled() string {
	w.extra = !w.extra
	return w.gateway()
}

// gatewayWithSecret is a gateway with a connection of its own, whose credential no node knows yet.
func gatewayWithSecret(name string) string {
	return fmt.Sprintf("---\nkind: Connection\nname: %[1]s\nserver: vaulted\nowner: {organization: {}}\nsecret_headers: {X-Api-Key: {from_env: KEY}}\n"+
		"---\nkind: Gateway\nname: %[1]s\nvisibility: {organization: {}}\nauthentication: {bearer_token: {}}\n"+
		"tools:\n- {tool: vaulted/once, pinned: {connection: %[1]s}}\n", name)
}

// fresh wants a new secret to be stored and used, which takes an authserver twice.
func (s *scenario) fresh(when string) {
	s.t.Helper()
	s.secrets++
	name := fmt.Sprintf("fresh-%d", s.secrets)
	s.enforced(s.apply(gatewayWithSecret(name)))
	token := s.tokenFor(name)
	// The nodes know the connection; the authserver that is asked may hear of it a moment later.
	s.eventually("a call with a new credential "+when, func() error {
		return visitors.Ask(s.t.Context(), s.homeURL(name), token, "vaulted__once", name)
	})
}

// redis ends Redis in every way; calls must not notice, and nothing needs a restart after it.
func (w *world) redis() {
	server := w.plant.Zones[0].Redis
	w.run("redis: down", func(s *scenario) {
		s.withoutRedis(func() {
			server.Stop()
			s.wait(s.size.outage)
			server.Restart()
		})
	})
	w.run("redis: hangs", func(s *scenario) {
		s.withoutRedis(func() {
			server.Pause()
			s.wait(s.size.frozen)
			server.Resume()
		})
	})
}

// postgres stops PostgreSQL: who has a credential in memory does not notice, the others are told unavailable, and so are admin
// writes; afterwards everything goes on by itself.
func (w *world) postgres() {
	w.run("postgresql: down", func(s *scenario) {
		for range 2 * s.size.nodes { // on every node's connections
			s.ask(warm, "")
		}
		s.plant.Postgres.Down()
		ended := time.Now().Add(s.size.outage)
		s.ask(cold, "unavailable")
		for time.Now().Before(ended) {
			s.ask(warm, "")
			ctx, cancel := context.WithTimeout(s.t.Context(), 15*time.Second)
			if _, err := s.write(ctx, s.toggled()); err == nil || !admin.IsUnavailable(err) {
				s.t.Errorf("an admin write without PostgreSQL: %v, want unavailable", err)
			}
			cancel()
			s.wait(time.Second)
		}
		s.plant.Postgres.Up()
		began := time.Now()
		s.enforced(s.apply(s.toggled()))
		s.row.Recovery = seconds(time.Since(began))
		s.eventually("a call whose credential must be read", func() error { return s.askAs(cold, s.tokens[0]) })
	})
}

// ask calls a gateway with a credential; the answer must contain a word if it is to fail.
func (s *scenario) ask(gateway, fails string) {
	s.t.Helper()
	err := s.askAs(gateway, s.tokens[0])
	switch {
	case fails == "" && err != nil:
		s.t.Errorf("a call at %s: %v", gateway, err)
	case fails != "" && (err == nil || !strings.Contains(strings.ToLower(err.Error()), fails)):
		s.t.Errorf("a call at %s: %v, want %q", gateway, err, fails)
	}
}

func (s *scenario) askAs(gateway, token string) error {
	s.asked++
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	return visitors.Ask(ctx, s.homeURL(gateway), token, "vaulted__once", fmt.Sprintf("%s-%d", gateway, s.asked))
}

// links cuts one node off from control planes, authservers and Redis.
func (w *world) links() {
	z := w.plant.Zones[0]
	w.run("node: cut off", func(s *scenario) {
		s.withoutRedis(func() {
			z.Links.Cut()
			s.wait(s.size.frozen)
			z.Links.Restore()
		})
	})
	w.run("node: packets lost", func(s *scenario) {
		s.withoutRedis(func() {
			z.Links.Swallow()
			s.wait(s.size.frozen)
			z.Links.Restore()
		})
	})
}

// regions: what is for one region only does not reach the other; a session that crosses over goes on.
func (w *world) regions() {
	w.run("regions", func(s *scenario) {
		here, there := s.plant.Zones[0], s.plant.Zones[1]
		if err := visitors.Ask(s.t.Context(), s.homeURL(homeOnly), s.tokens[0], "plain__once", "at-home"); err != nil {
			s.t.Errorf("at home: %v", err)
		}
		away := there.Fleet.Gateways + "/v1/mcp/"
		if err := visitors.Ask(s.t.Context(), away+homeOnly, s.tokens[0], "plain__once", "abroad"); err == nil || !strings.HasPrefix(err.Error(), "status 404") {
			s.t.Errorf("abroad: %v, want status 404", err)
		}
		s.eventually("the nodes at home have the gateway on disk", func() error {
			state, err := s.onDisk(here.Nodes[0])
			if err == nil && !holds(state) {
				err = fmt.Errorf("%s has not: what finds nothing here finds nothing abroad", here.Nodes[0].Name)
			}
			return err
		})
		for _, n := range there.Nodes {
			if state, err := s.onDisk(n); err != nil || holds(state) {
				s.t.Errorf("%s abroad holds a gateway of the home region on disk, or nothing: %v", n.Name, err)
			}
		}
		crossing := visitors.New(visitors.Config{
			Name: "crossing-", URL: s.homeURL("fleet"), Tokens: s.tokens, Count: 2, Pace: 200 * time.Millisecond, Timeout: 20 * time.Second,
			Stateful: "keeper__", Stateless: "plain__",
		})
		defer crossing.Close()
		if err := crossing.Open(s.t.Context()); err != nil {
			s.t.Error(err)
			return
		}
		crossing.Move(away + "fleet")
		s.wait(max(s.size.calm, 3*time.Second))
		goOn := crossing.Pause()
		defer goOn()
		tally := crossing.Take()
		s.t.Logf("%d calls after the sessions crossed over, %d failed", len(tally.Succeeded), len(tally.Failed))
		abroadCalls := 0
		for token := range tally.Succeeded {
			if s.journal.Runs(token) != 1 {
				s.t.Errorf("call %s of a session that crossed over ran %d times", token, s.journal.Runs(token))
			}
			abroadCalls++
		}
		if abroadCalls == 0 || len(tally.Failed) > 0 {
			s.t.Errorf("sessions that crossed over: %d calls succeeded, failed: %+v", abroadCalls, tally.Failed)
		}
	})
}
