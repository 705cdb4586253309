// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// loadClients are the clients that call at the same time, each with a token of its own, loadPause between two calls of one.
	loadClients = 6
	loadPause   = 15 * time.Millisecond
	loadAtLeast = 3 * time.Second
)

// startIssuer starts the authserver of a fleet with all that logins need; more are settings that end it at once.
func (f *fleet) startIssuer(more ...string) *program {
	f.t.Helper()
	c := f.certs["authserver"]
	return start(f.t, options{env: []string{
		portOffset(f.offset), "PENSTOCK_DATABASE=" + f.secrets, "PENSTOCK_VAULT_KEYSET=" + f.path("vault.keyset"),
		"PENSTOCK_VAULT_CREATE_KEYSET=true", "PENSTOCK_DATA_DIR=" + f.path("authserver"), "PENSTOCK_LOGIN_LOCAL_USERS=true",
		"PENSTOCK_TLS_CERT=" + c.Cert, "PENSTOCK_TLS_KEY=" + c.Key, "PENSTOCK_TLS_CA=" + c.CA, "PENSTOCK_LOG_LEVEL=debug",
	}}, "authserver", more...)
}

// signing runs a command on the signing keys beside the authserver that runs.
func (f *fleet) signing(args ...string) *program {
	f.t.Helper()
	p := f.startIssuer(args...)
	if code := p.wait(); code != 0 {
		f.t.Fatalf("authserver %v: exit code %d: %s", args, code, p.stderr.tail())
	}
	return p
}

// issuing is a fleet with a gateway, and clients of one person that are logged in.
type issuing struct {
	*fleet

	t         *testing.T
	who       person
	auth      *program
	client    *oauthClient
	tokens    []tokens
	out       []*program // everything that runs, for the canary
	canaries  []string
	documents [2]string // metadata and key set of the issuer, as they were at first
}

// newIssuing starts control plane, authserver (on PostgreSQL) and node as processes of their own, with mutual TLS, and logs
// loadClients in.
func newIssuing(t *testing.T) *issuing {
	t.Helper()
	i := &issuing{fleet: newFleet(t), t: t, who: person{Email: "ada@example.com", Password: rand.Text()}}
	i.secrets = startPostgres(t)
	i.auth = i.startIssuer()
	i.out = []*program{i.auth, i.startControl(), i.startNode("node-a")}
	for _, port := range []int{9081, 9080, 9083} {
		ready(t, i.ops(port))
	}
	i.apply(nil, plainManifests(newUpstream(t, "").URL, "")+"---\n{kind: User, name: ada@example.com}\n")
	i.apply(nil, strings.Replace(gatewayOf(i.must("export")), "bearer_token: {}", "oauth: {}", 1))
	setPassword(t, options{env: []string{portOffset(i.offset), "PENSTOCK_TOKEN=" + readFile(t, i.path("admin.token"))}}, i.who)
	i.client = registerClient(t, i.gateway(8080, "plain"))
	var attempts []attempt
	var urls []string
	for range loadClients {
		one := i.client.attempt()
		attempts, urls = append(attempts, one), append(urls, one.url)
	}
	for n, w := range walkAll(t, i.who, "", urls...) {
		i.tokens = append(i.tokens, i.keep(i.client.redeem(attempts[n], w)))
	}
	i.documents[0], i.documents[1] = i.served(8080), i.served(8083)
	return i
}

// gatewayOf is the gateway among exported manifests.
func gatewayOf(manifests string) string {
	for one := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains(one, "kind: Gateway") {
			return one
		}
	}
	return ""
}

// keep remembers tokens for the canary.
func (i *issuing) keep(t tokens) tokens {
	i.canaries = append(i.canaries, t.Access, t.Refresh)
	return t
}

// served are the issuer's metadata as a port serves them.
func (i *issuing) served(port int) string {
	i.t.Helper()
	status, body := get(i.t, "http://"+address(port+i.offset)+"/.well-known/oauth-authorization-server")
	if status != http.StatusOK {
		i.t.Errorf("metadata at %d: status %d: %s", port, status, body)
	}
	return body
}

// renew exchanges the refresh token of one client.
func (i *issuing) renew(n int) error {
	got, err := i.client.refresh(i.tokens[n])
	if err != nil {
		return err
	}
	if got.Access == "" {
		return fmt.Errorf("refused with %q", got.Error)
	}
	i.tokens[n] = i.keep(got)
	return nil
}

func (i *issuing) mustRenew(n int) {
	i.t.Helper()
	if err := i.renew(n); err != nil {
		i.t.Fatalf("refresh: %v", err)
	}
}

// call calls a tool with the token of one client.
func (i *issuing) call(n int) error {
	return i.client.caller(i.tokens[n]).echo(i.t.Context(), "open__echo")
}

// ageNextKey makes the next signing key as old as it has to be before it may sign: an hour is too long for a test, and
// nothing else can be waited for in its place. The authserver runs meanwhile.
func (i *issuing) ageNextKey() {
	i.t.Helper()
	const twoHours = 2 * 60 * 60 * 1_000_000
	query := fmt.Sprintf("UPDATE authserver.oauth_signing_keys SET create_time = create_time - %d, state_time = state_time - %[1]d WHERE state = 'next'", twoHours)
	if got := psql(i.t, i.secrets, query); got != "UPDATE 1" {
		i.t.Fatalf("age the next signing key: %s", got)
	}
}

// load calls with all tokens as they were when it began, until stop is called, which wants that every call worked.
func (i *issuing) load(name string) (stop func()) {
	ctx, cancel := context.WithCancel(i.t.Context())
	long := time.After(loadAtLeast)
	var calls, failed atomic.Int64
	var first atomic.Value
	var all sync.WaitGroup
	began := time.Now()
	for _, one := range slices.Clone(i.tokens) {
		all.Go(func() {
			tick := time.NewTicker(loadPause)
			defer tick.Stop()
			for {
				// Not with ctx: a call in flight is finished.
				if err := i.client.caller(one).echo(i.t.Context(), "open__echo"); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
				calls.Add(1)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	return func() {
		i.t.Helper()
		<-long
		cancel()
		all.Wait()
		took := time.Since(began)
		i.t.Logf("%s: %d calls in %s, %.0f a second", name, calls.Load(), took.Round(time.Millisecond), float64(calls.Load())/took.Seconds())
		if failed.Load() > 0 || calls.Load() < 100 {
			i.t.Errorf("%s: %d of %d calls failed, the first with %v", name, failed.Load(), calls.Load(), first.Load())
		}
	}
}

// TestIssuerUnderLoad is what operators do to an authserver while clients call: rotate the signing key, restart, lose it for a
// while, and, in an emergency, revoke a key.
func TestIssuerUnderLoad(t *testing.T) {
	i := newIssuing(t)
	old := i.tokens[0].kid()
	i.rotated(old)
	i.restarted()
	i.down()
	i.revoked(old)
	for _, p := range i.out {
		if !p.ended() {
			p.stop()
		}
	}
	noSecrets(t, i.out, slices.Concat(databases(t, i.dir), postgresFiles(t, i.secrets)), append(i.canaries, i.who.Password)...)
}

// rotated: KM-1, no call fails, new tokens are signed by the new key and work at once.
func (i *issuing) rotated(old string) {
	t := i.t
	p := i.startIssuer("--signing.rotate")
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "has not been published for an hour") {
		t.Errorf("rotating too early: exit code %d: %s", code, p.stderr.tail())
	}
	i.out = append(i.out, p)
	i.ageNextKey()
	stop := i.load("rotation")
	i.out = append(i.out, i.signing("--signing.rotate"))
	// The last client's token stays that of the old key.
	for n := range loadClients - 1 {
		eventually(t, 5*time.Second, func() error {
			i.mustRenew(n)
			if kid := i.tokens[n].kid(); kid == old || kid == "" {
				return fmt.Errorf("signed by %s", kid)
			}
			return nil
		})
		if err := i.call(n); err != nil {
			t.Errorf("call with a token of the new key: %v", err)
		}
	}
	stop()
	list := i.signing("--signing.list")
	i.out = append(i.out, list)
	for kid, state := range map[string]string{old: "retired", i.tokens[0].kid(): "active"} {
		if !strings.Contains(list.stdout.String(), fmt.Sprintf("%s %-7s ", kid, state)) {
			t.Errorf("%s is not %s in:\n%s", kid, state, list.stdout)
		}
	}
}

// restarted: no call fails while the authserver restarts, and refreshes work afterwards.
func (i *issuing) restarted() {
	stop := i.load("restart")
	i.auth.stop()
	i.auth = i.startIssuer()
	i.out = append(i.out, i.auth)
	ready(i.t, i.ops(9083))
	i.mustRenew(0)
	stop()
}

// down: without the authserver tokens work, and the node serves its metadata as before, after a restart of its own too (AS-22).
func (i *issuing) down() {
	t := i.t
	stop := i.load("authserver down")
	i.auth.stop()
	if got := i.served(8080); got != i.documents[0] || got != i.documents[1] {
		t.Errorf("the node's metadata are others than before:\n%s\n%s", got, i.documents[1])
	}
	if err := i.renew(0); err == nil {
		t.Error("a refresh worked without an authserver")
	}
	w := walkAll(t, i.who, "", i.client.attempt().url)[0]
	// The browser's own page, which says that nobody answers there.
	if !strings.HasPrefix(w.Ended, "chrome-error:") {
		t.Errorf("a login without an authserver ended at %s: %s", w.Ended, w.last())
	}
	stop()
	node := i.out[2]
	node.stop()
	i.out = append(i.out, i.startNode("node-a"))
	ready(t, i.ops(9080))
	if got := i.served(8080); got != i.documents[0] {
		t.Errorf("a node that started without an authserver serves other metadata:\n%s", got)
	}
	for n := range loadClients {
		if err := i.call(n); err != nil {
			t.Errorf("a node that started without an authserver: %v", err)
		}
	}
	i.auth = i.startIssuer()
	i.out = append(i.out, i.auth)
	ready(t, i.ops(9083))
	i.mustRenew(0)
}

// revoked: KM-3, within 5 s every token of the key is dead and a refresh gives one that works; other keys' tokens live on.
func (i *issuing) revoked(old string) {
	t := i.t
	if kid := i.tokens[loadClients-1].kid(); kid != old {
		t.Fatalf("the last client's token is of %s", kid)
	}
	bad := i.tokens[0].kid()
	i.out = append(i.out, i.signing("--signing.revoke="+bad))
	end := time.Now().Add(5 * time.Second)
	for n := range loadClients - 1 {
		eventually(t, time.Until(end), func() error {
			if i.call(n) == nil {
				return errors.New("a token of the revoked key works")
			}
			return nil
		})
	}
	t.Logf("tokens of the revoked key were dead %s before the limit", time.Until(end).Round(time.Millisecond))
	for n := range loadClients - 1 {
		eventually(t, 5*time.Second, func() error {
			i.mustRenew(n)
			return i.call(n)
		})
		if kid := i.tokens[n].kid(); kid == bad || kid == old {
			t.Errorf("the new token is of %s", kid)
		}
	}
	t.Logf("all clients work again %s before the limit", time.Until(end).Round(time.Millisecond))
	if err := i.call(loadClients - 1); err != nil {
		t.Errorf("a token of another key: %v", err)
	}
	p := i.startIssuer("--signing.revoke=" + bad)
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "no such signing key") {
		t.Errorf("revoking twice: exit code %d: %s", code, p.stderr.tail())
	}
	i.out = append(i.out, p)
}
