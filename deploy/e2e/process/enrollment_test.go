// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/member"
	"github.com/penstockhq/penstock/sdk/node"
)

// banWithin is how long a ban may take (D-81).
const banWithin = 5 * time.Second

// startTokens starts a control plane with an authority that it makes, and an authserver, node-a in eu and node-b in us that
// have nothing but join tokens.
func (f *fleet) startTokens(lifetime string) (control, auth, eu, us *program) {
	f.t.Helper()
	control = f.startAuthority(lifetime)
	ready(f.t, f.ops(9081))
	auth = start(f.t, options{env: []string{
		portOffset(f.offset), "PENSTOCK_DATABASE=" + f.secrets, "PENSTOCK_VAULT_KEYSET=" + f.path("vault.keyset"), "PENSTOCK_VAULT_CREATE_KEYSET=true",
		"PENSTOCK_DATA_DIR=" + f.path("authserver"), "PENSTOCK_ENROLLMENT_JOIN_TOKEN=" + f.must("node", "join-token", "as", "--role", "authserver"),
	}}, "authserver")
	file := f.path("node-a.token")
	if err := os.WriteFile(file, []byte(f.must("node", "join-token", "node-a", "--region", "eu")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	eu = f.startMember("node-a", "--enrollment.join_token_file", file)
	us = f.startMember("node-b", "--enrollment.join_token", f.must("node", "join-token", "node-b", "--region", "us"))
	for _, port := range []int{9083, 9080, secondOps} {
		ready(f.t, f.ops(port))
	}
	return control, auth, eu, us
}

func (f *fleet) startAuthority(lifetime string) *program {
	f.t.Helper()
	return start(f.t, options{env: []string{portOffset(f.offset)}}, "controlplane", "--database", f.database, "--bootstrap.token_file", f.path("admin.token"),
		"--enrollment.ca_cert", f.path("ca.pem"), "--enrollment.ca_key", f.path("ca.key"), "--enrollment.create_ca", "--enrollment.lifetime", lifetime)
}

// startMember starts a node without files of a certificate.
func (f *fleet) startMember(name string, more ...string) *program {
	f.t.Helper()
	args := []string{"--data.dir", f.path(name), "--upstream.allow_loopback"}
	if name == "node-b" {
		args = append(args, "--mcp.listen", address(secondMCP+f.offset), "--ops.listen", address(secondOps+f.offset))
	}
	return start(f.t, options{env: []string{portOffset(f.offset)}}, "dataplane", append(args, more...)...)
}

// TestJoinByToken: three programs join with tokens alone; certificates are renewed while calls go on, and a node that starts
// again needs no token; a ban ends a node within 5 s and lasts.
func TestJoinByToken(t *testing.T) {
	f := newFleet(t)
	control, auth, eu, us := f.startTokens("6s")
	locked := newUpstream(t, "s3cret")
	f.apply([]string{"KEY=s3cret"}, protectedManifests(locked.URL))
	token := f.must("token", "create", "--organization", "--gateway", "locked")
	f.must("wait")
	atEU, atUS := caller{url: f.gateway(8080, "locked"), token: token}, caller{url: f.gateway(secondMCP, "locked"), token: token}
	for _, c := range []caller{atEU, atUS} {
		if err := c.echo(t.Context(), "vaulted__echo"); err != nil {
			t.Fatal(err)
		}
	}

	certificate := func(name string) string {
		return readFile(t, filepath.Join(f.path(name), "identity", "certificate.pem"))
	}
	for range 3 { // at half of 6 s each, so that the first ones have expired
		before := []string{certificate("node-a"), certificate("node-b"), certificate("authserver")}
		eventually(t, 10*time.Second, func() error {
			for i, name := range []string{"node-a", "node-b", "authserver"} {
				if certificate(name) == before[i] {
					return fmt.Errorf("the certificate of %s was not renewed", name)
				}
			}
			return nil
		})
	}
	eu.stop()
	eu = f.startMember("node-a") // from its folder, without a token; its memory of credentials is gone
	ready(t, f.ops(9080))
	eventually(t, startTimeout, func() error { return atEU.echo(t.Context(), "vaulted__echo") })

	began := time.Now()
	f.must("node", "ban", "node-a", "--region", "eu", "--reason", "test")
	eventually(t, banWithin, func() error {
		if got := connected(t, f); !slices.Equal(got, []string{"node-b"}) {
			return fmt.Errorf("connected: %q", got)
		}
		return nil
	})
	t.Logf("the banned node's stream had ended %s after the command began", time.Since(began).Round(time.Millisecond))
	if got := f.must("nodes"); !strings.Contains(got, "node-a  eu      banned") {
		t.Errorf("penstock nodes:\n%s", got)
	}
	if got := f.cli(nil, "node", "join-token", "node-a", "--region", "eu"); got.code == 0 || !strings.Contains(got.stderr, "banned") || got.stdout != "" {
		t.Errorf("a join token for a banned node: exit code %d, %s%s", got.code, got.stdout, got.stderr)
	}
	eu.said(eu.stderr, "WORKLOAD_BANNED") // its renewal
	eu.stop()
	control.kill()
	control = f.startAuthority("6s")
	ready(t, f.ops(9081))
	eventually(t, startTimeout+15*time.Second, func() error {
		if got := connected(t, f); !slices.Equal(got, []string{"node-b"}) {
			return fmt.Errorf("connected after a restart: %q", got)
		}
		return nil
	})
	if err := atUS.echo(t.Context(), "vaulted__echo"); err != nil {
		t.Errorf("another node: %v", err)
	}
	for _, p := range []*program{control, auth, eu, us} {
		for _, secret := range []string{"pjt_", "s3cret", token} {
			if strings.Contains(p.stderr.String(), secret) {
				t.Errorf("%s tells %q", p.name, secret[:4])
			}
		}
	}
}

// thief has the certificate of a node, and asks for everything.
type thief struct {
	t          *testing.T
	f          *fleet
	source     tlsx.Source
	follower   *node.Client
	stop       func()
	control    *grpc.ClientConn
	credential credentialv1connect.CredentialServiceClient

	mu    sync.Mutex
	state map[node.Key]*distributionv1.Resource
}

// newThief follows the real feed with a certificate.
func newThief(t *testing.T, f *fleet, source tlsx.Source) *thief {
	t.Helper()
	h := &thief{t: t, f: f, source: source}
	toControl, err := tlsx.Client(source, trustDomain, ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	toAuth, err := tlsx.Client(source, trustDomain, ident.RoleAuthserver)
	if err != nil {
		t.Fatal(err)
	}
	creds := grpc.WithTransportCredentials(credentials.NewTLS(toControl))
	if h.control, err = grpc.NewClient(address(8082+f.offset), creds); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: toAuth, ForceAttemptHTTP2: true}
	h.credential = credentialv1connect.NewCredentialServiceClient(&http.Client{Transport: transport}, "https://"+address(8085+f.offset))
	h.follower, err = node.New(node.Config{
		Endpoints: []string{address(8082 + f.offset)}, DialOptions: []grpc.DialOption{creds}, Applier: h, Log: slog.New(slog.DiscardHandler),
		Capabilities: []string{"bearer_token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.follower.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := errors.Join(<-ended, h.control.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// Apply implements node.Applier.
func (h *thief) Apply(_ context.Context, s node.State, _ []node.Key, _ bool) []node.Reject {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = make(map[node.Key]*distributionv1.Resource)
	for _, kind := range []string{"gateway", "assignment", "tool", "server", "connection"} {
		s.Range(kind, func(r *distributionv1.Resource) bool {
			h.state[node.Key{Kind: kind, Name: r.GetName()}] = r
			return true
		})
	}
	return nil
}

// Deny implements node.Applier.
func (*thief) Deny(context.Context, uint64, []node.Key) {}

// names lists what the thief was sent, once there is something.
func (h *thief) names() []string {
	h.t.Helper()
	var out []string
	eventually(h.t, startTimeout, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.state == nil {
			return errors.New("no state yet")
		}
		out = nil
		for k := range h.state {
			out = append(out, k.Kind+" "+k.Name)
		}
		return nil
	})
	slices.Sort(out)
	return out
}

func (h *thief) get(kind, name string) *distributionv1.Resource {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state[node.Key{Kind: kind, Name: name}]
}

func (h *thief) fetch(hashes [][]byte) error {
	s, err := distributionv1.NewDistributionServiceClient(h.control).FetchBlobs(h.t.Context(), &distributionv1.FetchBlobsRequest{Hashes: hashes})
	if err == nil {
		_, err = s.Recv()
	}
	return err
}

func (h *thief) follow() error {
	s, err := distributionv1.NewDistributionServiceClient(h.control).Follow(h.t.Context())
	if err == nil {
		err = s.Send(&distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Hello{Hello: &distributionv1.Hello{Protocol: 1}}})
	}
	if err == nil || status.Code(err) == codes.Unknown { // io.EOF: the answer says why
		_, err = s.Recv()
	}
	return err
}

func (h *thief) resolve(uid, version string) error {
	_, err := h.credential.Resolve(h.t.Context(), &credentialv1.ResolveRequest{ConnectionUid: uid, Version: version})
	return err
}

// TestStolenCertificate: with the key and certificate of a node of us, and the real feed, nobody gets a byte of what eu alone
// has (D-82, D-85, KM-7); and after a ban nothing at all (D-81).
func TestStolenCertificate(t *testing.T) {
	f := newFleet(t)
	_, _, _, us := f.startTokens("1h")
	open, locked := newUpstream(t, ""), newUpstream(t, "s3cret")
	f.apply([]string{"KEY=s3cret"}, plainManifests(open.URL, "first")+"---"+strings.Replace(protectedManifests(locked.URL), "name: locked\n", "name: locked\nregions: [eu]\n", 1))
	us.stop()
	dir := filepath.Join(f.path("node-b"), "identity")
	stolen := newThief(t, f, tlsx.Files{
		Cert: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "authorities.pem"), Role: ident.RoleNode,
	})
	honest, err := member.Open(t.Context(), member.Config{
		Endpoints: []string{address(8082 + f.offset)}, TrustDomain: trustDomain, Role: ident.RoleNode, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Token: obs.Secret(f.must("node", "join-token", "node-c", "--region", "eu")),
	})
	if err != nil {
		t.Fatal(err)
	}
	witness := newThief(t, f, honest.Source())

	secret := []string{"assignment locked/vaulted/echo", "connection vaulted", "gateway locked", "server vaulted", "tool vaulted/echo"}
	all, got := witness.names(), stolen.names()
	for _, name := range secret {
		if !slices.Contains(all, name) || slices.Contains(got, name) {
			t.Errorf("%s: eu has it: %t, us has it: %t", name, slices.Contains(all, name), slices.Contains(got, name))
		}
	}
	if !slices.Contains(got, "gateway plain") {
		t.Errorf("us was sent %q", got)
	}
	body := witness.get("tool", "vaulted/echo").GetBlobs()
	own := stolen.get("tool", "open/echo").GetBlobs()
	c := witness.get("connection", "vaulted").GetConnection()
	if err := errors.Join(witness.fetch(body), stolen.fetch(own), witness.resolve(c.GetUid(), c.GetCredentialVersion())); err != nil {
		t.Fatalf("what is allowed: %v", err)
	}
	if sharedBody := string(body[0]) == string(own[0]); !sharedBody {
		if err := stolen.fetch(body); status.Code(err) != codes.NotFound {
			t.Errorf("a body of eu: %v", err)
		}
	}
	if err := stolen.resolve(c.GetUid(), c.GetCredentialVersion()); connect.CodeOf(err) != connect.CodePermissionDenied || !strings.Contains(err.Error(), "No gateway that this node serves") {
		t.Errorf("a credential of eu: %v", err)
	}

	began := time.Now()
	f.must("node", "ban", "node-b", "--region", "us", "--reason", "stolen")
	denied := func(what string, code func() bool) {
		t.Helper()
		eventually(t, banWithin, func() error {
			if code() {
				return nil
			}
			return fmt.Errorf("%s is not refused", what)
		})
		t.Logf("%s was refused %s after the command began", what, time.Since(began).Round(time.Millisecond))
	}
	refused := func(err error) bool {
		return status.Code(err) == codes.PermissionDenied && strings.Contains(err.Error(), "banned")
	}
	denied("its stream", func() bool { return !stolen.follower.Status().Connected })
	denied("Follow", func() bool { return refused(stolen.follow()) })
	denied("FetchBlobs", func() bool { return refused(stolen.fetch(own)) })
	denied("ReportStatus", func() bool {
		_, err := nodev1.NewNodeServiceClient(stolen.control).ReportStatus(t.Context(), &nodev1.ReportStatusRequest{})
		return refused(err)
	})
	denied("Resolve", func() bool {
		err := stolen.resolve(c.GetUid(), c.GetCredentialVersion())
		return connect.CodeOf(err) == connect.CodePermissionDenied && strings.Contains(err.Error(), "banned")
	})
	denied("Renew", func() bool {
		_, err := nodev1.NewEnrollmentServiceClient(stolen.control).Renew(t.Context(), &nodev1.RenewRequest{Csr: request(t, filepath.Join(dir, "key.pem"))})
		return refused(err)
	})
	if err := errors.Join(witness.fetch(body), witness.resolve(c.GetUid(), c.GetCredentialVersion())); err != nil {
		t.Errorf("a node that is not banned: %v", err)
	}
	// Strangers get nothing but enrollment.
	config, err := tlsx.Stranger(tlsx.Known{Authorities: certificates(t, filepath.Join(dir, "authorities.pem"))}, trustDomain, ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	checkStrangers(t, f, config)
}
