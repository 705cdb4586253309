// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/node"
)

// startLocal runs a control plane that nobody outside this process can reach, but for its admin API.
func startLocal(t *testing.T, change ...func(*controlplane.Settings)) *controlplane.ControlPlane {
	t.Helper()
	p := newLocal(t, change...)
	ran := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-p.Ready():
	case err := <-ran:
		t.Fatalf("the control plane ended: %v", err)
	}
	return p
}

// newLocal is startLocal that starts nothing.
func newLocal(t *testing.T, change ...func(*controlplane.Settings)) *controlplane.ControlPlane {
	t.Helper()
	dir := t.TempDir()
	s := controlplane.Settings{Database: obs.Secret("sqlite://" + filepath.Join(dir, "controlplane.db"))}
	s.Admin.Listen, s.Gateways.URL, s.Authserver.URL = "127.0.0.1:0", "http://127.0.0.1:8080", "http://authserver.local"
	s.TLS.TrustDomain, s.Bootstrap.Email, s.Bootstrap.TokenFile = "test", "admin@example.com", filepath.Join(dir, "token")
	for _, c := range change {
		c(&s)
	}
	p, err := controlplane.New(controlplane.Config{
		Settings: s, Version: "test", Credentials: &http.Client{},
		Telemetry: &obs.Telemetry{
			Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Metrics: http.NotFoundHandler(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// follower is an Applier that tells which kinds it was given.
type follower struct {
	kinds chan map[string]int
	gone  chan []*distributionv1.Revocation
	stop  func()
}

func (f *follower) Apply(_ context.Context, s node.State, _ []node.Key, _ bool) []node.Reject {
	kinds := make(map[string]int)
	for _, k := range []string{"user", "bearer_token"} {
		s.Names(k, func(string) bool { kinds[k]++; return true })
	}
	select {
	case f.kinds <- kinds:
	default: // the first one is enough
	}
	return nil
}

func (*follower) Deny(context.Context, uint64, []node.Key) {}

// follow runs a client of the control plane in memory.
func follow(t *testing.T, options []grpc.DialOption, capabilities ...string) (*node.Client, *follower) {
	t.Helper()
	f := &follower{kinds: make(chan map[string]int, 1), gone: make(chan []*distributionv1.Revocation, 1)}
	client, err := node.New(node.Config{
		Endpoints: []string{controlplane.LocalEndpoint}, DialOptions: options, Applier: f, Log: slog.New(slog.DiscardHandler),
		Capabilities: capabilities,
		Revocations:  func(_ context.Context, entries []*distributionv1.Revocation) { f.gone <- entries },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- client.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.stop)
	return client, f
}

func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// TestLocal: a node and an authserver in the same process each are what their dial options say: an authserver follows its
// scope, logs people in and publishes revocations; a node gets those, and may do neither.
func TestLocal(t *testing.T) {
	p := startLocal(t)
	n, atNode := follow(t, p.Local())
	a, atAuthserver := follow(t, p.LocalAuthserver())
	receive(t, "the node's state", atNode.kinds)
	if kinds := receive(t, "the authserver's state", atAuthserver.kinds); kinds["user"] != 1 || kinds["bearer_token"] != 0 {
		t.Errorf("the authserver got %v", kinds)
	}

	sum := sha256.Sum256([]byte("grant"))
	list := []*distributionv1.Revocation{{
		Kind: distributionv1.RevocationKind_REVOCATION_KIND_GRANT, KeySha256: sum[:], ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
	}}
	if err := n.PublishRevocations(t.Context(), list); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a node publishes: %v", err)
	}
	if err := a.PublishRevocations(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for _, gone := range [][]*distributionv1.Revocation{receive(t, "a revocation", atNode.gone), receive(t, "a revocation", atAuthserver.gone)} {
		if len(gone) != 1 || string(gone[0].GetKeySha256()) != string(sum[:]) {
			t.Errorf("revoked: %v", gone)
		}
	}

	login := &directoryv1.LoginUserRequest{IdentityProvider: "none", Subject: "s"}
	if _, err := n.DirectoryService().LoginUser(t.Context(), login); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() == "" {
		t.Errorf("a node logs somebody in: %v", err)
	}
	_, err := a.DirectoryService().LoginUser(t.Context(), login)
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != "The identity provider may not be used to log in." {
		t.Errorf("an unknown provider: %v", err)
	}
}
