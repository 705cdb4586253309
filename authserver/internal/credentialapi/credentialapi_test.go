// SPDX-License-Identifier: Apache-2.0

package credentialapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestPutResolveDelete(t *testing.T) {
	b := newBench(t)
	controlPlane, node := b.as(t, ident.RoleControlPlane), b.as(t, ident.RoleNode)
	put, err := controlPlane.PutSecret(t.Context(), putRequest())
	must(t, err)
	resolve := &credentialv1.ResolveRequest{
		ConnectionUid: "c1", Version: put.GetVersion(), Principal: &credentialv1.ResolvePrincipal{Kind: "user", Uid: "u1"},
	}
	got, err := node.Resolve(t.Context(), resolve)
	must(t, err)
	if diff := cmp.Diff(putRequest().GetSecret(), got.GetSecret(), protocmp.Transform()); diff != "" {
		t.Errorf("resolved secret differs (-want +got):\n%s", diff)
	}
	if want := b.now.Add(15 * time.Minute); !got.GetExpireTime().AsTime().Equal(want) {
		t.Errorf("expires at %v, want %v", got.GetExpireTime().AsTime(), want)
	}
	for _, c := range []struct{ until, want time.Time }{
		{b.now.Add(3 * time.Minute), b.now.Add(3 * time.Minute)}, {b.now.Add(time.Hour), b.now.Add(15 * time.Minute)},
	} {
		b.vault.until, resolve.Refused = c.until, true
		if got, err = node.Resolve(t.Context(), resolve); err != nil || !got.GetExpireTime().AsTime().Equal(c.want) {
			t.Errorf("expires at %v, want %v (%v)", got.GetExpireTime().AsTime(), c.want, err)
		}
	}
	if want := []bool{false, true, true}; !slices.Equal(b.vault.refused, want) {
		t.Errorf("refused is %v, want %v", b.vault.refused, want)
	}
	_, err = controlPlane.DeleteSecrets(t.Context(), &credentialv1.DeleteSecretsRequest{ConnectionUid: "c1"})
	must(t, err)
	_, err = node.Resolve(t.Context(), resolve)
	wantError(t, err, connect.CodeFailedPrecondition, vault.ReasonMissing)

	// D-85: each release is audited, with who and what and without the value, the principal's uid or a name.
	log := b.log.String()
	for _, want := range []string{
		`"method":"put","role":"controlplane","node":"the-controlplane","region":"eu","connection":"c1"`,
		`"method":"resolve","role":"node","node":"the-node","region":"eu","connection":"c1"`,
		`"principal_hash":"` + ident.Principal{Kind: ident.KindUser, UID: "u1"}.Hash() + `"`,
		`"method":"delete"`, `"count":1`, `"fault_reason":"CREDENTIAL_MISSING"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	noCanary(t, "the log", log)
	for _, span := range b.spans.Ended() {
		noCanary(t, "a span", fmt.Sprint(span.Name(), span.Attributes(), span.Status(), span.Events()))
	}
}

func linkRequest() *credentialv1.CreateConnectLinkRequest {
	return &credentialv1.CreateConnectLinkRequest{UserUid: "u1", Server: "github", ClientId: "https://claude.ai/c.json", Gateway: "eng"}
}

// EL-4: a node gets a link for its caller; the link itself is in no log.
func TestCreateConnectLink(t *testing.T) {
	b := newBench(t)
	node := b.as(t, ident.RoleNode)
	got, err := node.CreateConnectLink(t.Context(), linkRequest())
	must(t, err)
	if got.GetUrl() != "https://auth.example.com/connect/"+canary || !got.GetExpireTime().AsTime().Equal(b.now.Add(10*time.Minute)) {
		t.Errorf("got %v", got)
	}
	want := []credentialapi.LinkRequest{{
		User: "u1", Server: "github", Client: "https://claude.ai/c.json", Gateway: "eng",
		Asker: ident.Workload{TrustDomain: "example.org", Region: "eu", Role: ident.RoleNode, Name: "the-node"},
	}}
	if diff := cmp.Diff(want, b.house.links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	b.people.refuse["eng"] = fault.New(fault.Denied, "GATEWAY_OUT_OF_SCOPE", "No.")
	_, err = node.CreateConnectLink(t.Context(), linkRequest())
	wantError(t, err, connect.CodePermissionDenied, "GATEWAY_OUT_OF_SCOPE")
	if len(b.house.links) != 1 || len(b.people.denials) != 1 || b.people.denials[0].Target != "github" {
		t.Errorf("links %v, denials %v", b.house.links, b.people.denials)
	}
	log := b.log.String()
	if !strings.Contains(log, `"method":"create_connect_link"`) || !strings.Contains(log, `"server":"github"`) {
		t.Errorf("the log does not tell: %s", log)
	}
	noCanary(t, "the log", log)
}

// A control plane gets a link for somebody who called nothing (UP-10); who is not there gets none, which is recorded.
func TestCreateConnectLinkWithoutCall(t *testing.T) {
	b := newBench(t)
	controlPlane := b.as(t, ident.RoleControlPlane)
	got, err := controlPlane.CreateConnectLink(t.Context(), &credentialv1.CreateConnectLinkRequest{UserUid: "u1", Server: "github"})
	must(t, err)
	if got.GetUrl() != "https://auth.example.com/connect/"+canary {
		t.Errorf("got %v", got)
	}
	want := []credentialapi.LinkRequest{{
		User: "u1", Server: "github", Asker: ident.Workload{TrustDomain: "example.org", Region: "eu", Role: ident.RoleControlPlane, Name: "the-controlplane"},
	}}
	if diff := cmp.Diff(want, b.house.links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	b.people.refuse[""] = fault.New(fault.Denied, "PRINCIPAL_UNKNOWN", "No.")
	_, err = controlPlane.CreateConnectLink(t.Context(), &credentialv1.CreateConnectLinkRequest{UserUid: "u2", Server: "github"})
	wantError(t, err, connect.CodePermissionDenied, "PRINCIPAL_UNKNOWN")
	if len(b.house.links) != 1 || len(b.people.denials) != 1 || b.people.denials[0].ActorType != "controlplane" || b.people.denials[0].Target != "github" {
		t.Errorf("links %v, denials %v", b.house.links, b.people.denials)
	}
	noCanary(t, "the log", b.log.String())
}

// Who may call what: every method by every role.
func TestRoles(t *testing.T) {
	methods := []struct {
		name string
		role ident.Role
		call func(context.Context, credentialv1connect.CredentialServiceClient) error
	}{
		{"PutSecret", ident.RoleControlPlane, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.PutSecret(ctx, putRequest())
			return err
		}},
		{"DeleteSecrets", ident.RoleControlPlane, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.DeleteSecrets(ctx, &credentialv1.DeleteSecretsRequest{ConnectionUid: "c1"})
			return err
		}},
		{"Resolve", ident.RoleNode, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.Resolve(ctx, &credentialv1.ResolveRequest{ConnectionUid: "c0", Version: "v_1"})
			return err
		}},
		{"CreateConnectLink for a call", ident.RoleNode, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.CreateConnectLink(ctx, linkRequest())
			return err
		}},
		{"CreateConnectLink without a gateway", ident.RoleControlPlane, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.CreateConnectLink(ctx, &credentialv1.CreateConnectLinkRequest{UserUid: "u1", Server: "github"})
			return err
		}},
		{"SetPassword", ident.RoleControlPlane, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.SetPassword(ctx, &credentialv1.SetPasswordRequest{UserUid: "u1", Password: canary})
			return err
		}},
		{"GetIssuer", ident.RoleNode, func(ctx context.Context, c credentialv1connect.CredentialServiceClient) error {
			_, err := c.GetIssuer(ctx, &credentialv1.GetIssuerRequest{})
			return err
		}},
	}
	for _, role := range []ident.Role{ident.RoleControlPlane, ident.RoleNode, ident.RoleAuthserver, ""} {
		for _, m := range methods {
			t.Run(fmt.Sprintf("%s by %q", m.name, role), func(t *testing.T) {
				b := newBench(t)
				b.vault.secrets["c0 v_1"] = vault.Secret{}
				err := m.call(t.Context(), b.as(t, role))
				switch link := strings.HasPrefix(m.name, "CreateConnectLink"); {
				case role == m.role:
					must(t, err)
					return
				case link && (role == ident.RoleNode || role == ident.RoleControlPlane): // with or without a gateway, not as the other may
					wantError(t, err, connect.CodeInvalidArgument, credentialapi.ReasonRequest)
				default:
					wantError(t, err, connect.CodePermissionDenied, credentialapi.ReasonRole)
				}
				if len(b.vault.secrets) != 1 || len(b.house.passwords)+len(b.house.links) != 0 {
					t.Error("a refused call changed something")
				}
			})
		}
	}
	t.Run("without a certificate", func(t *testing.T) {
		b := newBench(t)
		for _, m := range methods {
			wantError(t, m.call(t.Context(), b.client(t, credentialapi.FromTLS)), connect.CodeUnauthenticated, credentialapi.ReasonCaller)
		}
	})
}

func TestRefusedMessages(t *testing.T) {
	b := newBench(t)
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("K", i)] = canary
		}
		return m
	}
	put := func(edit func(*credentialv1.PutSecretRequest)) func() error {
		return func() error {
			m := putRequest()
			edit(m)
			_, err := b.as(t, ident.RoleControlPlane).PutSecret(t.Context(), m)
			return err
		}
	}
	resolve := func(m *credentialv1.ResolveRequest) func() error {
		return func() error {
			_, err := b.as(t, ident.RoleNode).Resolve(t.Context(), m)
			return err
		}
	}
	link := func(edit func(*credentialv1.CreateConnectLinkRequest)) func() error {
		return func() error {
			m := linkRequest()
			edit(m)
			_, err := b.as(t, ident.RoleNode).CreateConnectLink(t.Context(), m)
			return err
		}
	}
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		name, field string
		call        func() error
	}{
		{"no connection", "connection_uid", put(func(m *credentialv1.PutSecretRequest) { m.ConnectionUid = "" })},
		{"long connection", "connection_uid", put(func(m *credentialv1.PutSecretRequest) { m.ConnectionUid = long })},
		{"no secret", "secret", put(func(m *credentialv1.PutSecretRequest) { m.Secret = nil })},
		{"21 headers", "secret.headers", put(func(m *credentialv1.PutSecretRequest) { m.Secret.Headers = many(21) })},
		{"65 variables", "secret.env", put(func(m *credentialv1.PutSecretRequest) { m.Secret.Env = many(65) })},
		{"a link for nobody", "user_uid", link(func(m *credentialv1.CreateConnectLinkRequest) { m.UserUid = "" })},
		{"a link for no server", "server", link(func(m *credentialv1.CreateConnectLinkRequest) { m.Server = "" })},
		{"a link of no gateway", "gateway", link(func(m *credentialv1.CreateConnectLinkRequest) { m.Gateway = "" })},
		{"a link of a gateway with a long name", "gateway", link(func(m *credentialv1.CreateConnectLinkRequest) { m.Gateway = long })},
		{"a link of a gateway, for a control plane", "gateway", func() error {
			_, err := b.as(t, ident.RoleControlPlane).CreateConnectLink(t.Context(), linkRequest())
			return err
		}},
		{"resolve without a version", "version", resolve(&credentialv1.ResolveRequest{ConnectionUid: "c1"})},
		{"resolve without a connection", "connection_uid", resolve(&credentialv1.ResolveRequest{Version: "v"})},
		{"resolve for a long uid", "principal.uid", resolve(&credentialv1.ResolveRequest{
			ConnectionUid: "c1", Version: "v", Principal: &credentialv1.ResolvePrincipal{Kind: "user", Uid: long},
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call()
			wantError(t, err, connect.CodeInvalidArgument, credentialapi.ReasonRequest)
			if fields := violations(err); len(fields) != 1 || fields[0] != c.field {
				t.Errorf("violations are at %v, want %s", fields, c.field)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		err := put(func(m *credentialv1.PutSecretRequest) { m.Secret.Env["BIG"] = strings.Repeat(canary, 50_000) })()
		if connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("error is %v, want resource_exhausted", err)
		}
	})
	noCanary(t, "the log", b.log.String())
}

func TestFaultsOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		code   connect.Code
		reason string
	}{
		{"unreadable", fault.New(fault.Precondition, vault.ReasonUnreadable, "Store it anew.").Because(errors.New(canary)), connect.CodeFailedPrecondition, vault.ReasonUnreadable},
		{"store away", fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "Later.").After(time.Second), connect.CodeUnavailable, "STORE_UNAVAILABLE"},
		{"unclassified", errors.New("driver says " + canary), connect.CodeInternal, fault.ReasonInternal},
		{"deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, fault.ReasonTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.vault.fail = c.err
			_, err := b.as(t, ident.RoleNode).Resolve(t.Context(), &credentialv1.ResolveRequest{ConnectionUid: "c1", Version: "v"})
			wantError(t, err, c.code, c.reason)
			noCanary(t, "the answer", err.Error())
		})
	}
	t.Run("panic", func(t *testing.T) {
		b := newBench(t)
		b.vault.panics = true
		_, err := b.as(t, ident.RoleNode).Resolve(t.Context(), &credentialv1.ResolveRequest{ConnectionUid: "c1", Version: "v"})
		wantError(t, err, connect.CodeInternal, fault.ReasonInternal)
		noCanary(t, "the answer", err.Error())
		noCanary(t, "the log", b.log.String())
		if !strings.Contains(b.log.String(), "credential operation panicked") {
			t.Errorf("the log does not tell: %s", b.log)
		}
	})
}

// G-62: the node's trace goes on here.
func TestTraceIsContinued(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(b.api.Handler(credentialapi.Fixed(ident.Workload{Role: ident.RoleNode})))
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+credentialv1connect.CredentialServiceResolveProcedure,
		strings.NewReader(`{"connectionUid":"c1","version":"v"}`))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	res, err := server.Client().Do(r)
	must(t, err)
	must(t, res.Body.Close())
	spans := b.spans.Ended()
	if len(spans) != 1 || spans[0].SpanContext().TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("spans: %v", spans)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := credentialapi.New(credentialapi.Config{}); err == nil {
		t.Error("an api without parts was made")
	}
}

func wantError(t *testing.T, err error, code connect.Code, reason string) {
	t.Helper()
	c, ok := errors.AsType[*connect.Error](err)
	if !ok || c.Code() != code {
		t.Fatalf("error is %v, want %v", err, code)
	}
	for _, d := range c.Details() {
		value, err := d.Value()
		must(t, err)
		if info, ok := value.(*errdetails.ErrorInfo); ok {
			if info.GetReason() != reason || info.GetDomain() != "penstock" {
				t.Errorf("error info is %v, want %s", info, reason)
			}
			return
		}
	}
	t.Errorf("no error info in %v", err)
}

func violations(err error) []string {
	var fields []string
	c, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return nil
	}
	for _, d := range c.Details() {
		value, err := d.Value()
		if err != nil {
			continue
		}
		if bad, ok := value.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	return fields
}

func noCanary(t *testing.T, where, text string) {
	t.Helper()
	if strings.Contains(text, canary) {
		t.Errorf("the secret is in %s: %s", where, text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
