// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/google/go-cmp/cmp"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// http2 is a client that speaks HTTP/2 without TLS, as gRPC does.
func http2(t *testing.T) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// bearer sends a token with each call.
func bearer(token string) connect.ClientOption {
	return connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			req.Header().Set("Authorization", "Bearer "+token)
			return next(ctx, req)
		}
	}))
}

// TestProtocols does the life of a gateway over each protocol on the one port: create, get, list, update with a mask, a stale etag,
// delete, not found.
func TestProtocols(t *testing.T) {
	w := newWorld(t)
	clients := map[string]adminv1connect.GatewayServiceClient{
		"connect":         adminv1connect.NewGatewayServiceClient(http.DefaultClient, w.url, bearer(w.tokens[adminUser])),
		"connect JSON":    adminv1connect.NewGatewayServiceClient(http.DefaultClient, w.url, bearer(w.tokens[adminUser]), connect.WithProtoJSON()),
		"connect GET":     adminv1connect.NewGatewayServiceClient(http.DefaultClient, w.url, bearer(w.tokens[adminUser]), connect.WithHTTPGet()),
		"connect, HTTP/2": adminv1connect.NewGatewayServiceClient(http2(t), w.url, bearer(w.tokens[adminUser])),
		"gRPC":            adminv1connect.NewGatewayServiceClient(http2(t), w.url, bearer(w.tokens[adminUser]), connect.WithGRPC()),
		"gRPC-Web":        adminv1connect.NewGatewayServiceClient(http.DefaultClient, w.url, bearer(w.tokens[adminUser]), connect.WithGRPCWeb()),
		"compressed":      adminv1connect.NewGatewayServiceClient(http.DefaultClient, w.url, bearer(w.tokens[adminUser]), connect.WithSendGzip()),
	}
	for name, c := range clients {
		t.Run(name, func(t *testing.T) { gatewayLife(t, c) })
	}
}

func gatewayLife(t *testing.T, c adminv1connect.GatewayServiceClient) {
	t.Helper()
	ctx := t.Context()
	created, err := c.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("life")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("life")}); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("second create: got %v", err)
	}
	updated, err := c.UpdateGateway(ctx, &adminv1.UpdateGatewayRequest{
		Gateway:    &resourcev1.Gateway{Name: "life", Etag: created.GetGateway().GetEtag(), DisplayName: "Life", Description: "not in the mask"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := updated.GetGateway()
	if g.GetDisplayName() != "Life" || g.GetDescription() != "" || len(g.GetTools()) != 1 || updated.GetRevision() <= created.GetRevision() {
		t.Errorf("update changed something else: %v", updated)
	}
	_, err = c.UpdateGateway(ctx, &adminv1.UpdateGatewayRequest{
		Gateway: &resourcev1.Gateway{Name: "life", Etag: created.GetGateway().GetEtag(), DisplayName: "Stale"},
	})
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("stale etag: got %v", err)
	}
	got, err := c.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "life"})
	if err != nil || got.GetGateway().GetDisplayName() != "Life" || got.GetGateway().GetEtag() != g.GetEtag() {
		t.Errorf("get: got %v, %v", got, err)
	}
	if len(got.GetGateway().GetStatus().GetConditions()) == 0 || got.GetGateway().GetStatus().GetUrl() != "http://127.0.0.1:8080/v1/mcp/life" {
		t.Errorf("get: no status in %v", got)
	}
	page, err := c.ListGateways(ctx, &adminv1.ListGatewaysRequest{Filter: `name = "life"`})
	if err != nil || len(page.GetGateways()) != 1 {
		t.Errorf("list: got %v, %v", page, err)
	}
	if _, err := c.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: "life", Etag: created.GetGateway().GetEtag()}); connect.CodeOf(err) != connect.CodeAborted {
		t.Errorf("delete with a stale etag: got %v", err)
	}
	if _, err := c.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: "life", Etag: g.GetEtag()}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "life"}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("get after delete: got %v", err)
	}
}

// post is what curl does.
func (w *world) post(t *testing.T, method, contentType, token, body string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/penstock.admin.v1."+method, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(data, &out) // not every refusal is JSON
	return res.StatusCode, res.Header, out
}

// TestCurl has a row per way to call with nothing but HTTP, with the exact status and code.
func TestCurl(t *testing.T) {
	w := newWorld(t)
	own := "Bearer " + w.tokens[adminUser]
	huge := `{"name":"` + strings.Repeat("x", 17<<20) + `"}`
	tests := []struct {
		name, method, contentType, token, body string
		status                                 int
		code                                   string
	}{
		{"right", "GatewayService/GetGateway", "application/json", own, `{"name":"eng"}`, 200, ""},
		{"lowerCamel", "GatewayService/ListGateways", "application/json", own, `{"pageSize":1}`, 200, ""},
		{"scheme in small letters", "GatewayService/GetGateway", "application/json", "bearer " + w.tokens[adminUser], `{"name":"eng"}`, 200, ""},
		{"no token", "GatewayService/GetGateway", "application/json", "", `{"name":"eng"}`, 401, "unauthenticated"},
		{"basic", "GatewayService/GetGateway", "application/json", "Basic YTpi", `{"name":"eng"}`, 401, "unauthenticated"},
		{"empty token", "GatewayService/GetGateway", "application/json", "Bearer ", `{"name":"eng"}`, 401, "unauthenticated"},
		{"garbled token", "GatewayService/GetGateway", "application/json", own + "x", `{"name":"eng"}`, 401, "unauthenticated"},
		{"no such gateway", "GatewayService/GetGateway", "application/json", own, `{"name":"nope"}`, 404, "not_found"},
		{"unknown field", "GatewayService/GetGateway", "application/json", own, `{"name":"eng","nam":"eng"}`, 400, "invalid_argument"},
		{"unknown field, charset", "GatewayService/GetGateway", "application/json; charset=utf-8", own, `{"name":"eng","nam":"eng"}`, 400, "invalid_argument"},
		{"misspelt field of a resource", "GatewayService/CreateGateway", "application/json", own, `{"gateway":{"name":"x","visibility":{"organization":{}},"disabeld":true}}`, 400, "invalid_argument"},
		{"not JSON", "GatewayService/GetGateway", "application/json", own, `{"name":`, 400, "invalid_argument"},
		{"too large", "GatewayService/GetGateway", "application/json", own, huge, 429, "resource_exhausted"},
		{"page size out of range", "GatewayService/ListGateways", "application/json", own, `{"page_size":1001}`, 400, "invalid_argument"},
		{"page token of nobody", "GatewayService/ListGateways", "application/json", own, `{"page_token":"abc"}`, 400, "invalid_argument"},
		{"filter that does not parse", "GatewayService/ListGateways", "application/json", own, `{"filter":"name ="}`, 400, "invalid_argument"},
		{"unknown mask", "GatewayService/UpdateGateway", "application/json", own, `{"gateway":{"name":"eng"},"update_mask":"displayNam"}`, 400, "invalid_argument"},
		{"wrong content type", "GatewayService/GetGateway", "text/plain", own, `{"name":"eng"}`, 415, ""},
		{"unknown method", "GatewayService/Explode", "application/json", own, `{}`, 404, ""},
		{"unknown service", "NopeService/Get", "application/json", own, `{}`, 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, out := w.post(t, tt.method, tt.contentType, tt.token, tt.body)
			code, _ := out["code"].(string)
			if status != tt.status || code != tt.code {
				t.Errorf("got %d %q (%v), want %d %q", status, code, out["message"], tt.status, tt.code)
			}
			if header.Get("X-Request-Id") == "" || header.Get("Cache-Control") != "no-store" {
				t.Errorf("got headers %v", header)
			}
			if challenge := header.Get("WWW-Authenticate"); (status == 401) != (challenge != "") {
				t.Errorf("status %d with WWW-Authenticate %q", status, challenge)
			}
		})
	}
}

// TestReflection: v1 and v1alpha list the same services, and describe them.
func TestReflection(t *testing.T) {
	w := newWorld(t)
	client := grpcreflect.NewClient(http2(t), w.url)
	stream := client.NewStream(t.Context())
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range names {
		got = append(got, strings.TrimPrefix(string(n), "penstock.admin.v1."))
	}
	slices.Sort(got)
	want := []string{
		"ApprovalService", "AuditService", "BearerTokenService", "ConfigurationService", "ConnectionService", "ExplainService",
		"GatewayService", "IdentityProviderService", "NodeService", "OAuthClientService", "PolicyService", "ResultPolicyService",
		"ServerService", "TeamService", "ToolService", "UserService", "grpc.health.v1.Health",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	files, err := stream.FileContainingSymbol("penstock.admin.v1.GatewayService")
	if err != nil || len(files) == 0 {
		t.Errorf("got %d files, %v", len(files), err)
	}
	if _, err := stream.Close(); err != nil {
		t.Error(err)
	}
	for _, version := range []string{"v1", "v1alpha"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			w.url+"/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo", bytes.NewReader([]byte{0, 0, 0, 0, 2, 0x3a, 0}))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		res, err := http2(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil || !bytes.Contains(body, []byte("penstock.admin.v1.GatewayService")) {
			t.Errorf("%s: got %d, %q, %v", version, res.StatusCode, body, err)
		}
	}
}

// TestHealth: gRPC health needs no token and tells the truth.
func TestHealth(t *testing.T) {
	var ready error
	w := newWorld(t, func(c *adminapi.Config) { c.Ready = func() error { return ready } })
	client := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](http2(t), w.url+"/grpc.health.v1.Health/Check", connect.WithGRPC())
	check := func(service string) (healthv1.HealthCheckResponse_ServingStatus, error) {
		res, err := client.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{Service: service}))
		if err != nil {
			return 0, err
		}
		return res.Msg.GetStatus(), nil
	}
	for _, service := range []string{"", "penstock.admin.v1.GatewayService"} {
		if got, err := check(service); err != nil || got != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%q: got %v, %v", service, got, err)
		}
	}
	if _, err := check("nope"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("unknown service: got %v", err)
	}
	ready = errors.New("not loaded")
	if got, err := check(""); err != nil || got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("not ready: got %v, %v", got, err)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := adminapi.New(adminapi.Config{}); err == nil {
		t.Error("a configuration without anything was taken")
	}
}
