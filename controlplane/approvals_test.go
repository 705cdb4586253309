// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/controlplane"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const webhookSecret = "0123456789abcdef0123456789abcdef"

// TestHeldCall: a node holds a call and waits; an outside system is told and decides; the call runs once. Then the control
// plane stops while a node waits.
func TestHeldCall(t *testing.T) {
	told := make(chan string, 10)
	outside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		told <- string(body)
	}))
	defer outside.Close()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(webhookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var settings controlplane.Settings
	p := startLocal(t, func(s *controlplane.Settings) {
		s.Admin.Listen = freeAddress(t)
		s.Approvals = controlplane.ApprovalSettings{WebhookURL: outside.URL, WebhookSecretFile: file, WebhookArguments: true, Keyset: file + ".keyset", CreateKeyset: true}
		settings = *s
	})
	token, err := os.ReadFile(settings.Bootstrap.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	api, err := admin.New("http://"+settings.Admin.Listen, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(controlplane.LocalEndpoint, p.Local()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	held := heldWorld(t, api, nodev1.NewNodeServiceClient(conn))
	node := nodev1.NewApprovalServiceClient(conn)
	first, err := node.HoldCall(t.Context(), held)
	if err != nil || first.GetState() != nodev1.ApprovalState_APPROVAL_STATE_PENDING || fmt.Sprint(first.GetApprovers()) != "[an administrator of the organisation]" {
		t.Fatalf("held: %v, %v", first, err)
	}
	message := receive(t, "the webhook", told)
	if !strings.Contains(message, `"type":"approval.created"`) || !strings.Contains(message, first.GetApproval()) || !strings.Contains(message, `"arguments":{"a":1}`) {
		t.Errorf("told: %s", message)
	}
	waits := make(chan nodev1.ApprovalState, 1)
	go func() {
		res, err := node.WaitApproval(t.Context(), &nodev1.WaitApprovalRequest{Approval: first.GetApproval()})
		if err != nil {
			t.Error(err)
		}
		waits <- res.GetState()
	}()
	url := "http://" + settings.Admin.Listen + "/webhooks/approvals"
	body := fmt.Sprintf(`{"approval":%q,"decision":"approve","by":%q}`, first.GetApproval(), settings.Bootstrap.Email)
	if status := post(t, url, "m1", body, "x"+webhookSecret); status != http.StatusUnauthorized {
		t.Errorf("with another secret: %d", status)
	}
	if status := post(t, url, "m1", body, webhookSecret); status != http.StatusOK {
		t.Errorf("decided: %d", status)
	}
	if got := receive(t, "the decision", waits); got != nodev1.ApprovalState_APPROVAL_STATE_APPROVED {
		t.Errorf("waited for %s", got)
	}
	if message := receive(t, "the webhook", told); !strings.Contains(message, `"type":"approval.approved"`) {
		t.Errorf("told: %s", message)
	}
	ran, err := node.HoldCall(t.Context(), held)
	if err != nil || !ran.GetRun() || ran.GetApproval() != first.GetApproval() {
		t.Errorf("run: %v, %v", ran, err)
	}
	shown, err := api.Approvals.GetApproval(t.Context(), &adminv1.GetApprovalRequest{Id: first.GetApproval()})
	if a := shown.GetApproval(); err != nil || a.GetState() != "RUN" || a.GetNode() != "local" || len(a.GetEvents()) != 3 || a.GetEvents()[1].GetHow() != "webhook" {
		t.Errorf("shown: %v, %v", a, err)
	}
	again, err := node.HoldCall(t.Context(), held)
	if err != nil || again.GetState() != nodev1.ApprovalState_APPROVAL_STATE_PENDING || again.GetApproval() == first.GetApproval() {
		t.Errorf("once more: %v, %v", again, err)
	}
	if res, err := http.Get("http://" + settings.Admin.Listen + "/webhooks/other"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("another path: %v, %v", res, err)
	} else if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
}

// heldWorld makes a tool whose calls are held, and returns a call of a service account.
func heldWorld(t *testing.T, api *admin.Client, node nodev1.NodeServiceClient) *nodev1.HoldCallRequest {
	t.Helper()
	everybody := &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
	apply := func(list ...*adminv1.ManifestResource) {
		t.Helper()
		if _, err := api.Configuration.Apply(t.Context(), &adminv1.ApplyRequest{Resources: list}); err != nil {
			t.Fatal(err)
		}
	}
	apply(&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{
		Name: "demo", Visibility: everybody, Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://demo.example.com/mcp"}},
	}}})
	_, err := node.ReportDiscovery(t.Context(), &nodev1.ReportDiscoveryRequest{Server: "demo", Result: &nodev1.ReportDiscoveryRequest_Discovered{
		Discovered: &nodev1.Discovered{ProtocolVersion: "2025-11-25", Tools: [][]byte{[]byte(`{"name":"echo","inputSchema":{"type":"object"}}`)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	apply(&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Connection{Connection: &resourcev1.Connection{
		Name: "demo", Server: "demo", Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
	}}}, &adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Gateway{Gateway: &resourcev1.Gateway{
		Name: "eng", Visibility: everybody, Authentication: &resourcev1.Authentication{BearerToken: &resourcev1.BearerTokenAuthentication{}},
		Tools: []*resourcev1.ToolAssignment{{Tool: "demo/echo", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "demo"}}}},
	}}}, &adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Policy{Policy: &resourcev1.Policy{
		Name: "careful", Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: &resourcev1.Approvers{TeamAdmins: &resourcev1.TeamAdmins{}},
	}}})
	return &nodev1.HoldCallRequest{
		Gateway: "eng", Tool: "demo/echo", Policy: "careful", Arguments: []byte(`{"a":1}`), Caller: &nodev1.HeldCaller{Kind: "service_account", Name: "ci"},
	}
}

// post sends a signed message.
func post(t *testing.T, url, id, body, secret string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write([]byte(id + "." + stamp + "." + body))
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || !json.Valid(bytes.TrimSpace(answer)) {
		t.Errorf("answer: %s, %v", answer, err)
	}
	return res.StatusCode
}

// TestApprovalSettings: what cannot be used is said at the start.
func TestApprovalSettings(t *testing.T) {
	for _, tc := range []struct {
		name string
		a    controlplane.ApprovalSettings
		want string
	}{
		{"nothing", controlplane.ApprovalSettings{}, ""},
		{"decisions only", controlplane.ApprovalSettings{WebhookSecretFile: "f"}, ""},
		{"key file", controlplane.ApprovalSettings{Keyset: "f", CreateKeyset: true}, ""},
		{"no key file to make", controlplane.ApprovalSettings{CreateKeyset: true}, "approvals.keyset"},
		{"no key file to rotate", controlplane.ApprovalSettings{Rotate: true}, "approvals.keyset"},
		{"whole", controlplane.ApprovalSettings{WebhookURL: "http://10.0.0.1/x", WebhookSecretFile: "f", WebhookArguments: true}, ""},
		{"no secret", controlplane.ApprovalSettings{WebhookURL: "https://x.example.com/"}, "approvals.webhook_secret_file"},
		{"no URL", controlplane.ApprovalSettings{WebhookURL: "x.example.com", WebhookSecretFile: "f"}, "approvals.webhook_url"},
		{"metadata", controlplane.ApprovalSettings{WebhookURL: "http://169.254.169.254/", WebhookSecretFile: "f"}, "approvals.webhook_url"},
		{"arguments to nobody", controlplane.ApprovalSettings{WebhookArguments: true}, "approvals.webhook_arguments"},
	} {
		s := controlplane.Settings{Database: "sqlite:///x", Approvals: tc.a}
		s.Gateways.URL = "http://127.0.0.1:8080"
		var got []string
		if err := s.Validate(); err != nil {
			for _, f := range fault.From(err).Fields {
				got = append(got, f.Path)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
}

// TestApprovalKeyFile: the key file is made where that is allowed, for its owner alone, kept, and asked for where it is missing.
func TestApprovalKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "approvals.keyset")
	with := func(create bool) func(*controlplane.Settings) {
		return func(s *controlplane.Settings) { s.Approvals.Keyset, s.Approvals.CreateKeyset = file, create }
	}
	err := newLocal(t, with(false)).Run(t.Context())
	if f := fault.From(err); f == nil || f.Reason != "VAULT_KEY_MISSING" || !strings.Contains(f.Public, "set approvals.create_keyset to make one") {
		t.Errorf("no key file: %v", err)
	}
	startLocal(t, with(true))
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key file: %v, %v", info, err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	startLocal(t, with(true))
	startLocal(t, with(false))
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the key file was changed: %v", err)
	}
	var s controlplane.Settings
	s.Approvals.Keyset = file
	if err := controlplane.RotateApprovalKeyset(s); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(file); err != nil || bytes.Count(after, []byte("keyId")) != 2 {
		t.Errorf("rotated: %v, %s", err, after)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := newLocal(t, with(true)).Run(t.Context()); fault.From(err) == nil || !strings.Contains(fault.From(err).Public, "Set it to 0600") {
		t.Errorf("a key file that others may read: %v", err)
	}
}
