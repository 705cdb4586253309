// SPDX-License-Identifier: Apache-2.0

package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/secrets"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const canary = "canary-03cd-never-in-an-error"

// authserver is the other side on a real connection: it keeps what is put, or answers with an error.
type authserver struct {
	credentialv1connect.UnimplementedCredentialServiceHandler
	kept      map[string]*credentialv1.StaticSecret
	passwords map[string]string // by user uid
	asked     []*credentialv1.CreateConnectLinkRequest
	fail      error
}

func (a *authserver) PutSecret(_ context.Context, m *credentialv1.PutSecretRequest) (*credentialv1.PutSecretResponse, error) {
	if a.fail != nil {
		return nil, a.fail
	}
	a.kept[m.GetConnectionUid()] = m.GetSecret()
	return &credentialv1.PutSecretResponse{Version: fmt.Sprint("v_", len(a.kept))}, nil
}

func (a *authserver) DeleteSecrets(_ context.Context, m *credentialv1.DeleteSecretsRequest) (*credentialv1.DeleteSecretsResponse, error) {
	if a.fail != nil {
		return nil, a.fail
	}
	delete(a.kept, m.GetConnectionUid())
	return &credentialv1.DeleteSecretsResponse{}, nil
}

func (a *authserver) SetPassword(_ context.Context, m *credentialv1.SetPasswordRequest) (*credentialv1.SetPasswordResponse, error) {
	if a.fail != nil {
		return nil, a.fail
	}
	a.passwords[m.GetUserUid()] = m.GetPassword()
	return &credentialv1.SetPasswordResponse{}, nil
}

func (a *authserver) CreateConnectLink(_ context.Context, m *credentialv1.CreateConnectLinkRequest) (*credentialv1.CreateConnectLinkResponse, error) {
	if a.fail != nil {
		return nil, a.fail
	}
	a.asked = append(a.asked, m)
	return &credentialv1.CreateConnectLinkResponse{Url: "https://auth.example.com/connect/" + canary, ExpireTime: timestamppb.New(linkEnd())}, nil
}

func linkEnd() time.Time { return time.Date(2026, 5, 1, 12, 10, 0, 0, time.UTC) }

func start(t *testing.T, a *authserver) *secrets.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(a))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return client(t, server.URL)
}

func client(t *testing.T, url string) *secrets.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := secrets.New(secrets.Config{HTTP: &http.Client{Transport: transport}, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPutAndDelete(t *testing.T) {
	a := &authserver{kept: map[string]*credentialv1.StaticSecret{}}
	c := start(t, a)
	headers, env := map[string]string{"Authorization": canary}, map[string]string{"KEY": canary}
	version, err := c.Put(t.Context(), "c1", headers, env)
	if err != nil || version != "v_1" {
		t.Fatalf("version %q, error %v", version, err)
	}
	if diff := cmp.Diff(headers, a.kept["c1"].GetHeaders()) + cmp.Diff(env, a.kept["c1"].GetEnv()); diff != "" {
		t.Errorf("the authserver got something else (-want +got):\n%s", diff)
	}
	for range 2 {
		if err := c.Delete(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.kept) != 0 {
		t.Errorf("kept after delete: %d", len(a.kept))
	}
}

// TestClientSecretAndPassword: each arrives as it was typed, and what goes wrong does not show it.
func TestClientSecretAndPassword(t *testing.T) {
	a := &authserver{kept: map[string]*credentialv1.StaticSecret{}, passwords: map[string]string{}}
	c := start(t, a)
	version, err := c.PutClientSecret(t.Context(), "p1", canary)
	if err != nil || version != "v_1" || a.kept["p1"].GetClientSecret() != canary || len(a.kept["p1"].GetHeaders()) > 0 {
		t.Errorf("version %q, error %v, kept %v", version, err, a.kept)
	}
	for _, password := range []string{canary, ""} {
		if err := c.SetPassword(t.Context(), "u1", password); err != nil || a.passwords["u1"] != password {
			t.Errorf("password %q, error %v", a.passwords["u1"], err)
		}
	}
	a.fail = answer(connect.CodeInvalidArgument, "The password is known to be stolen.", info("PASSWORD_REFUSED"))
	err = c.SetPassword(t.Context(), "u1", canary)
	if f := fault.From(err); f.Kind != fault.Invalid || f.Reason != "PASSWORD_REFUSED" || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	a.fail = answer(connect.CodeUnavailable, "starting")
	if _, err := c.PutClientSecret(t.Context(), "p1", canary); fault.From(err).Reason != secrets.ReasonUnavailable || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
}

// TestCreateConnectLink: a control plane names the person and the server, and no gateway; an authserver that does not know one of them
// is behind, since the catalog has checked.
func TestCreateConnectLink(t *testing.T) {
	a := &authserver{}
	c := start(t, a)
	url, expires, err := c.CreateConnectLink(t.Context(), "u1", "github")
	if err != nil || url != "https://auth.example.com/connect/"+canary || !expires.Equal(linkEnd()) {
		t.Errorf("got %s, %v, %v", url, expires, err)
	}
	if len(a.asked) != 1 || !proto.Equal(a.asked[0], &credentialv1.CreateConnectLinkRequest{UserUid: "u1", Server: "github"}) {
		t.Errorf("asked for %v", a.asked)
	}
	behind := fault.New(fault.Unavailable, secrets.ReasonBehind, "The authserver has not heard yet of what was changed a moment ago; try again.").After(time.Second)
	for _, tt := range []struct {
		name   string
		answer error
		want   *fault.Fault
	}{
		{
			"many open", answer(connect.CodeResourceExhausted, "5 open.", info("TOO_MANY_CONNECT_LINKS"), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Minute)}),
			fault.New(fault.Exhausted, "TOO_MANY_CONNECT_LINKS", "5 open.").After(time.Minute),
		},
		{"the person", answer(connect.CodePermissionDenied, "Gone.", info("PRINCIPAL_UNKNOWN")), behind},
		{"the server", answer(connect.CodeNotFound, "None.", info("SERVER_UNKNOWN")), behind},
		{"the server's kind", answer(connect.CodeFailedPrecondition, "Not so.", info("SERVER_NOT_CONNECTABLE")), behind},
		{
			"us", answer(connect.CodePermissionDenied, "Only …", info("WORKLOAD_ROLE_DENIED")),
			fault.New(fault.Bug, "WORKLOAD_ROLE_DENIED", "The authserver does not accept this control plane."),
		},
		{"not its words", answer(connect.CodeNotFound, "no route"), gone()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.fail = tt.answer
			_, _, err := c.CreateConnectLink(t.Context(), "u1", "github")
			check(t, err, tt.want)
		})
	}
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := c.CreateConnectLink(ctx, "u1", "github"); fault.KindOf(err) != fault.Canceled {
			t.Errorf("error is %v, want canceled", err)
		}
	})
}

func answer(code connect.Code, text string, details ...proto.Message) error {
	e := connect.NewError(code, errors.New(text))
	for _, d := range details {
		detail, err := connect.NewErrorDetail(d)
		if err != nil {
			return err
		}
		e.AddDetail(detail)
	}
	return e
}

func info(reason string) proto.Message {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "penstock"}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer error
		want   *fault.Fault
	}{
		{
			"a secret that cannot be one",
			answer(connect.CodeInvalidArgument, "Cannot be used.", info("CREDENTIAL_INVALID"),
				&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "secret.headers[A]", Description: "is no header name"}}}),
			fault.New(fault.Invalid, "CREDENTIAL_INVALID", "Cannot be used.").At("secret.headers[A]", "is no header name"),
		},
		{
			"its store is away",
			answer(connect.CodeUnavailable, "Later.", info("STORE_UNAVAILABLE"), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}),
			fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "Later.").After(time.Second),
		},
		{
			"it does not accept us",
			answer(connect.CodePermissionDenied, "Only …", info("WORKLOAD_ROLE_DENIED")),
			fault.New(fault.Bug, "WORKLOAD_ROLE_DENIED", "The authserver does not accept this control plane."),
		},
		{
			"a bug there", answer(connect.CodeInternal, "An internal error occurred.", info("INTERNAL")),
			fault.New(fault.Bug, "INTERNAL", "An internal error occurred."),
		},
		{"not its words", answer(connect.CodeNotFound, "no route"), gone()},
		{"another domain's words", answer(connect.CodeNotFound, "x", &errdetails.ErrorInfo{Reason: "X", Domain: "proxy"}), gone()},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := start(t, &authserver{fail: c.answer})
			_, putErr := client.Put(t.Context(), "c1", map[string]string{"A": canary}, nil)
			check(t, putErr, c.want)
			check(t, client.Delete(t.Context(), "c1"), c.want)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		_, err := client(t, "http://127.0.0.1:1").Put(t.Context(), "c1", map[string]string{"A": canary}, nil)
		check(t, err, gone())
	})
	t.Run("something else listens", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(server.Close)
		_, err := client(t, server.URL).Put(t.Context(), "c1", map[string]string{"A": canary}, nil)
		check(t, err, gone())
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := start(t, &authserver{}).Put(ctx, "c1", map[string]string{"A": canary}, nil)
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("error is %v, want canceled", err)
		}
	})
}

func gone() *fault.Fault {
	return fault.New(fault.Unavailable, secrets.ReasonUnavailable,
		"The authserver, which keeps secrets, cannot be reached; try again.")
}

func check(t *testing.T, err error, want *fault.Fault) {
	t.Helper()
	f := fault.From(err)
	if f == nil {
		t.Fatalf("no error, want %v", want)
	}
	if f.Kind != want.Kind || f.Reason != want.Reason || f.Public != want.Public || f.Retry != want.Retry {
		t.Errorf("fault is %v %q %v (%v), want %v", f.Kind, f.Public, f.Retry, err, want)
	}
	if diff := cmp.Diff(want.Fields, f.Fields); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error shows the secret: %v", err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := secrets.New(secrets.Config{}); err == nil {
		t.Error("a client without parts was made")
	}
}
