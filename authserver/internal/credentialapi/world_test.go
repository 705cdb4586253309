// SPDX-License-Identifier: Apache-2.0

package credentialapi_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const canary = "canary-77aa-never-in-a-log"

// memory is a vault that keeps its secrets in a map, or fails as told.
type memory struct {
	mu      sync.Mutex
	secrets map[string]vault.Secret
	fail    error
	panics  bool
	until   time.Time
	refused []bool // of the calls of Resolve
}

func (m *memory) enter() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.panics {
		panic("working on " + canary)
	}
	return m.fail
}

func (m *memory) Put(_ context.Context, connection string, s vault.Secret) (string, error) {
	if err := m.enter(); err != nil {
		return "", err
	}
	version := fmt.Sprint("v_", len(m.secrets)+1)
	m.secrets[connection+" "+version] = s
	return version, nil
}

func (m *memory) Resolve(_ context.Context, w credentialapi.Wanted) (vault.Secret, time.Time, error) {
	if err := m.enter(); err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	m.refused = append(m.refused, w.Refused)
	s, ok := m.secrets[w.Connection+" "+w.Version]
	if !ok {
		return vault.Secret{}, time.Time{}, fault.New(fault.Precondition, vault.ReasonMissing, "Store it anew.")
	}
	return s, m.until, nil
}

func (m *memory) Delete(_ context.Context, connection string) (int, error) {
	if err := m.enter(); err != nil {
		return 0, err
	}
	n := len(m.secrets)
	for key := range m.secrets {
		if strings.HasPrefix(key, connection+" ") {
			delete(m.secrets, key)
		}
	}
	return n - len(m.secrets), nil
}

// house is what the service needs besides the vault.
type house struct {
	passwords map[string]string
	links     []credentialapi.LinkRequest
}

func (h *house) SetPassword(_ context.Context, uid, password string) error {
	if password == "short" {
		return fault.New(fault.Invalid, "PASSWORD_INVALID", "Use a longer one.")
	}
	h.passwords[uid] = password
	return nil
}

func (h *house) Create(_ context.Context, r credentialapi.LinkRequest) (link string, expires time.Time, err error) {
	h.links = append(h.links, r)
	return "https://auth.example.com/connect/" + canary, time.Date(2026, 7, 28, 12, 10, 0, 0, time.UTC), nil
}

func (h *house) Documents() (issuer string, metadata, jwks []byte) {
	return "https://auth.example.com", []byte(`{"issuer":"https://auth.example.com"}`), []byte(`{"keys":[]}`)
}

// people is a directory that allows everything but what it is told to deny.
type people struct {
	mu      sync.Mutex
	banned  map[string]bool  // names
	refuse  map[string]error // by connection
	denials []store.Event
}

func (p *people) Banned(w ident.Workload) bool { return p.banned[w.Name] }

func (p *people) MayResolve(_ context.Context, _ ident.Workload, connection string, _ ident.Principal) error {
	return p.refuse[connection]
}

func (p *people) MayConnect(_ context.Context, _ ident.Workload, gateway, _, _ string) error {
	return p.refuse[gateway]
}

func (p *people) RecordDenial(_ context.Context, e store.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denials = append(p.denials, e)
}

type bench struct {
	people *people
	vault  *memory
	house  *house
	log    *bytes.Buffer
	spans  *tracetest.SpanRecorder
	api    *credentialapi.API
	now    time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		people: &people{banned: map[string]bool{}, refuse: map[string]error{}},
		vault:  &memory{secrets: map[string]vault.Secret{}}, house: &house{passwords: make(map[string]string)}, log: new(bytes.Buffer), spans: tracetest.NewSpanRecorder(),
		now: time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC),
	}
	api, err := credentialapi.New(credentialapi.Config{
		Vault: b.vault, Credentials: b.vault, Passwords: b.house, Issuer: b.house, Directory: b.people, Links: b.house, Log: slog.New(slog.NewJSONHandler(b.log, nil)), Propagator: propagation.TraceContext{},
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans)),
		Meter:  noop.NewMeterProvider(), Now: func() time.Time { return b.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.api = api
	return b
}

// as returns a client that the service takes for a workload of the role.
func (b *bench) as(t *testing.T, role ident.Role) credentialv1connect.CredentialServiceClient {
	t.Helper()
	w := ident.Workload{TrustDomain: "example.org", Region: "eu", Role: role, Name: "the-" + string(role)}
	return b.client(t, credentialapi.Fixed(w))
}

func (b *bench) client(t *testing.T, identify credentialapi.Identify) credentialv1connect.CredentialServiceClient {
	t.Helper()
	server := httptest.NewServer(b.api.Handler(identify))
	t.Cleanup(server.Close)
	return credentialv1connect.NewCredentialServiceClient(server.Client(), server.URL)
}

func putRequest() *credentialv1.PutSecretRequest {
	return &credentialv1.PutSecretRequest{ConnectionUid: "c1", Secret: &credentialv1.StaticSecret{
		Headers: map[string]string{"Authorization": canary}, Env: map[string]string{"KEY": canary},
	}}
}
