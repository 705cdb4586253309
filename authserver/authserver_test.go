// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/authserver"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

const (
	canary      = "canary-91be-never-in-a-log"
	trustDomain = "example.org"
	startWithin = 30 * time.Second
	issuer      = "https://auth.example.com"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is where an authserver keeps its things between two starts.
type house struct {
	dir string
	log *obstest.Log
}

func newHouse(t *testing.T) house {
	t.Helper()
	return house{dir: t.TempDir(), log: new(obstest.Log)}
}

func (h house) config(t *testing.T) authserver.Config {
	t.Helper()
	telemetry, stop, err := obs.Start(t.Context(), obs.Config{Service: "penstock-authserver", LogWriter: h.log, LogLevel: "debug"})
	must(t, err)
	t.Cleanup(func() { must(t, stop(context.Background())) })
	c := authserver.Config{Version: "test", Telemetry: telemetry}
	c.Database = obs.Secret("sqlite://" + filepath.Join(h.dir, "authserver.db"))
	c.Vault = authserver.VaultSettings{Keyset: filepath.Join(h.dir, "keyset.json"), CreateKeyset: true}
	c.Issuer, c.Gateways.URL, c.Data.Dir = issuer, "https://gw.example.com", filepath.Join(h.dir, "data")
	p := &plane{resources: []*distributionv1.Resource{connectionOf("some", "c1")}}
	c.ControlPlane.Endpoints, c.DialControlPlane = []string{"passthrough:///plane"}, p.dial(t)
	_, err = conf.Load(conf.Program{Name: "authserver"}, &c.OAuth) // the defaults
	must(t, err)
	c.Shutdown.Drain = 5 * time.Second
	return c
}

// start runs a server; the returned function stops it and waits.
func start(t *testing.T, c authserver.Config) (*authserver.Server, func()) {
	t.Helper()
	s, err := authserver.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		must(t, <-ended)
	})
	t.Cleanup(stop)
	return s, stop
}

func local(s *authserver.Server, role ident.Role) credentialv1connect.CredentialServiceClient {
	return credentialv1connect.NewCredentialServiceClient(s.Local(role), authserver.LocalURL)
}

func put(t *testing.T, c credentialv1connect.CredentialServiceClient) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	r, err := c.PutSecret(ctx, &credentialv1.PutSecretRequest{
		ConnectionUid: "c1", Secret: &credentialv1.StaticSecret{Headers: map[string]string{"Authorization": canary}},
	})
	must(t, err)
	return r.GetVersion()
}

func resolve(t *testing.T, c credentialv1connect.CredentialServiceClient, version string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	r, err := c.Resolve(ctx, &credentialv1.ResolveRequest{ConnectionUid: "c1", Version: version})
	return r.GetSecret().GetHeaders()["Authorization"], err
}

// The clients are made before Run; a restart finds everything again.
func TestInMemoryAndRestart(t *testing.T) {
	h := newHouse(t)
	s, stop := start(t, h.config(t))
	version := put(t, local(s, ident.RoleControlPlane))
	if got, err := resolve(t, local(s, ident.RoleNode), version); err != nil || got != canary {
		t.Fatalf("resolved %q (error %v)", got, err)
	}
	if _, err := resolve(t, local(s, ident.RoleControlPlane), version); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a control plane resolved: %v", err)
	}
	stop()
	if _, err := resolve(t, local(s, ident.RoleNode), version); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a call after the end gives %v, want unavailable", err)
	}

	again, _ := start(t, h.config(t))
	if got, err := resolve(t, local(again, ident.RoleNode), version); err != nil || got != canary {
		t.Fatalf("after a restart: resolved %q (error %v)", got, err)
	}
	noCanary(t, h)
}

func TestMutualTLS(t *testing.T) {
	h := newHouse(t)
	ca, stranger := tlsxtest.NewCA(t, trustDomain), tlsxtest.NewCA(t, trustDomain)
	issue := func(ca *tlsxtest.CA, role ident.Role, name string) tlsx.Files {
		return ca.Issue(t, filepath.Join(h.dir, name), ident.Workload{Region: "eu", Role: role, Name: name})
	}
	c := h.config(t)
	own := issue(ca, ident.RoleAuthserver, "as-1")
	c.TLS = authserver.TLSSettings{Cert: own.Cert, Key: own.Key, CA: own.CA, TrustDomain: trustDomain}
	c.CredentialListener, c.OpsListener = listener(t), listener(t)
	s, _ := start(t, c)
	version := put(t, local(s, ident.RoleControlPlane))

	client := func(f tlsx.Files) credentialv1connect.CredentialServiceClient {
		config, err := tlsx.Client(f, trustDomain, ident.RoleAuthserver)
		must(t, err)
		return overTLS(t, config, c.CredentialListener.Addr().String())
	}
	node := issue(ca, ident.RoleNode, "node-1")
	if got, err := resolve(t, client(node), version); err != nil || got != canary {
		t.Errorf("a node resolved %q (error %v)", got, err)
	}
	put(t, client(issue(ca, ident.RoleControlPlane, "cp-1")))
	if _, err := resolve(t, client(issue(ca, ident.RoleControlPlane, "cp-2")), version); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a control plane resolved: %v", err)
	}
	for name, files := range map[string]tlsx.Files{
		"another authserver":    issue(ca, ident.RoleAuthserver, "as-2"),
		"an unknown authority":  {Cert: issue(stranger, ident.RoleNode, "node-2").Cert, Key: filepath.Join(h.dir, "node-2", "key.pem"), CA: own.CA},
		"an expired node":       ca.Issue(t, filepath.Join(h.dir, "node-3"), ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-3"}, tlsxtest.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))),
		"another trust domain":  ca.Issue(t, filepath.Join(h.dir, "node-4"), ident.Workload{TrustDomain: "evil.org", Region: "eu", Role: ident.RoleNode, Name: "node-4"}),
		"a name that is no id":  ca.Issue(t, filepath.Join(h.dir, "node-5"), ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-5"}, tlsxtest.URIs("https://example.org/node")),
		"more than one id":      ca.Issue(t, filepath.Join(h.dir, "node-6"), ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-6"}, tlsxtest.URIs("spiffe://example.org/region/eu/node/a", "spiffe://example.org/region/eu/node/b")),
		"no id at all":          ca.Issue(t, filepath.Join(h.dir, "node-7"), ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-7"}, tlsxtest.URIs()),
		"a role of nobody here": ca.Issue(t, filepath.Join(h.dir, "node-8"), ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-8"}, tlsxtest.URIs("spiffe://example.org/region/eu/admin/x")),
	} {
		if got, err := resolve(t, client(files), version); err == nil || got != "" {
			t.Errorf("%s resolved %q", name, got)
		}
	}
	if got, err := resolve(t, overTLS(t, &tls.Config{InsecureSkipVerify: true}, c.CredentialListener.Addr().String()), version); err == nil || got != "" {
		t.Errorf("a caller without a certificate resolved %q", got)
	}
	ops(t, c.OpsListener.Addr().String())
	noCanary(t, h)
}

func overTLS(t *testing.T, config *tls.Config, addr string) credentialv1connect.CredentialServiceClient {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return credentialv1connect.NewCredentialServiceClient(&http.Client{Transport: transport}, "https://"+addr)
}

// ops reads the page of a running server until the store and the vault are well, and its metrics.
func ops(t *testing.T, addr string) {
	t.Helper()
	page := func() string { _, body := get(t, "http://"+addr+"/readyz"); return body }
	for deadline := time.Now().Add(startWithin); ; {
		body := page()
		if strings.Contains(body, `{"name":"store","ok":true}`) && strings.Contains(body, `{"name":"vault","ok":true}`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not well: %s", body)
		}
	}
	if _, body := get(t, "http://"+addr+"/metrics"); !strings.Contains(body, `penstock_vault_operations_total{operation="resolve",outcome="ok"} 1`) {
		t.Errorf("the metrics page lacks the resolve: %s", body)
	}
}

// SE-3 and bad input: what a start must refuse, and how it says so.
func TestRefusesToStart(t *testing.T) {
	taken := listener(t)
	t.Cleanup(func() { must(t, taken.Close()) })
	for _, c := range []struct {
		name, reason, says string
		prepare            func(t *testing.T, h house, c *authserver.Config)
	}{
		{"key file lost", "VAULT_KEY_MISSING", "put it back", func(t *testing.T, h house, _ *authserver.Config) {
			seed(t, h)
			must(t, os.Remove(filepath.Join(h.dir, "keyset.json")))
		}},
		{"key file of another deployment", "VAULT_KEY_MISSING", "local/", func(t *testing.T, h house, _ *authserver.Config) {
			seed(t, h)
			other := newHouse(t)
			seed(t, other)
			must(t, os.Rename(filepath.Join(other.dir, "keyset.json"), filepath.Join(h.dir, "keyset.json")))
		}},
		{"no key file and none may be made", "VAULT_KEY_MISSING", "vault.create_keyset", func(_ *testing.T, _ house, c *authserver.Config) {
			c.Vault.CreateKeyset = false
		}},
		{"key file others may read", "VAULT_KEY_FILE_INVALID", "0600", func(t *testing.T, h house, _ *authserver.Config) {
			seed(t, h)
			must(t, os.Chmod(filepath.Join(h.dir, "keyset.json"), 0o644))
		}},
		{"damaged key file", "VAULT_KEY_FILE_INVALID", "damaged", func(t *testing.T, h house, _ *authserver.Config) {
			must(t, os.WriteFile(filepath.Join(h.dir, "keyset.json"), []byte("{"), 0o600))
		}},
		{"damaged database", "STORE_NOT_USABLE", "damaged", func(t *testing.T, h house, _ *authserver.Config) {
			must(t, os.WriteFile(filepath.Join(h.dir, "authserver.db"), bytes.Repeat([]byte("x"), 8192), 0o600))
		}},
		{"port in use", run.ReasonPortInUse, "ops.listen", func(_ *testing.T, _ house, c *authserver.Config) {
			c.Ops.Listen = taken.Addr().String()
		}},
		{"public port in use", run.ReasonPortInUse, "public.listen", func(_ *testing.T, _ house, c *authserver.Config) {
			c.Public.Listen = taken.Addr().String()
		}},
		{"no certificate files", tlsx.ReasonFiles, "", func(t *testing.T, h house, c *authserver.Config) {
			c.CredentialListener = listener(t)
			c.TLS = authserver.TLSSettings{Cert: h.dir + "/a", Key: h.dir + "/b", CA: h.dir + "/c", TrustDomain: trustDomain}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			config := h.config(t)
			c.prepare(t, h, &config)
			s, err := authserver.New(config)
			must(t, err)
			waiting := local(s, ident.RoleNode)
			err = s.Run(t.Context())
			f := fault.From(err)
			if f == nil || f.Reason != c.reason || !strings.Contains(f.Public, c.says) {
				t.Errorf("Run gives %v, want %s …%s…", err, c.reason, c.says)
			}
			if _, err := resolve(t, waiting, "v"); err == nil {
				t.Error("a client of a server that did not start got an answer")
			}
		})
	}
}

// seed stores a secret and stops.
func seed(t *testing.T, h house) {
	t.Helper()
	s, stop := start(t, h.config(t))
	put(t, local(s, ident.RoleControlPlane))
	stop()
}

func TestRotateKeyset(t *testing.T) {
	h := newHouse(t)
	c := h.config(t)
	s, stop := start(t, c)
	version := put(t, local(s, ident.RoleControlPlane))
	before := primary(t, c.Vault.Keyset)
	must(t, authserver.RotateKeyset(c.Settings))
	if after := primary(t, c.Vault.Keyset); after == before {
		t.Error("the primary key is the same")
	}
	second := put(t, local(s, ident.RoleControlPlane))
	stop()
	again, _ := start(t, h.config(t)) // it seals anew at its start
	for _, v := range []string{version, second} {
		if got, err := resolve(t, local(again, ident.RoleNode), v); err != nil || got != canary {
			t.Errorf("resolved %q (error %v)", got, err)
		}
	}
	deadline := time.After(startWithin)
	for !strings.Contains(h.log.String(), "secrets sealed under the primary key") {
		select {
		case <-deadline:
			t.Fatalf("nothing was sealed anew: %s", h.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func primary(t *testing.T, path string) float64 {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	var set map[string]any
	must(t, json.Unmarshal(raw, &set))
	return set["primaryKeyId"].(float64)
}

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return l
}

func noCanary(t *testing.T, h house) {
	t.Helper()
	if strings.Contains(h.log.String(), canary) {
		t.Errorf("the secret is in the log: %s", h.log)
	}
	entries, err := os.ReadDir(h.dir)
	must(t, err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(h.dir, e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(canary)) {
			t.Errorf("the secret is in %s", e.Name())
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
