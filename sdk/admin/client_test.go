// SPDX-License-Identifier: Apache-2.0

package admin_test

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

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/internal/adminfake"
)

// start serves a fake and returns a client of it.
func start(t *testing.T, token string, opts ...admin.Option) (*adminfake.API, *admin.Client) {
	t.Helper()
	api := adminfake.New()
	server := httptest.NewServer(api.Handler())
	t.Cleanup(server.Close)
	client, err := admin.New(server.URL+"/", token, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return api, client
}

func TestNewRefuses(t *testing.T) {
	tests := []struct{ name, url, token string }{
		{"no scheme", "127.0.0.1:8081", ""},
		{"other scheme", "ftp://x", ""},
		{"no host", "http://", ""},
		{"relative", "/admin", ""},
		{"password", "http://ada:s3cret@x", ""},
		{"query", "http://x?token=s3cret", ""},
		{"control character", "http://x\x7f", ""},
		{"token with line break", "http://x", "pst_u_s3cret\n"},
		{"token with header", "http://x", "pst_u_s3cret\r\nX: y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := admin.New(tt.url, tt.token)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestAll(t *testing.T) {
	api, client := start(t, adminfake.Token)
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("team-%02d", i)
		api.Put(&resourcev1.Team{Name: name})
		want = append(want, name)
	}
	req := &adminv1.ListTeamsRequest{PageSize: 10}
	for range 2 { // an iterator may be ranged over again, and leaves the request as it was
		var got []string
		for team, err := range client.Teams.All(t.Context(), req) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, team.GetName())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if req.GetPageToken() != "" {
		t.Errorf("the request was changed: %v", req)
	}
	before := len(api.Calls())
	for _, err := range client.Teams.All(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if calls := len(api.Calls()) - before; calls != 1 {
		t.Errorf("got %d calls for the first element, want 1", calls)
	}
}

func TestAllEndsWithAnError(t *testing.T) {
	api, client := start(t, adminfake.Token)
	api.FailNext(adminfake.Failure(connect.CodePermissionDenied, "ROLE_REQUIRED", "No."))
	n := 0
	for team, err := range client.Teams.All(t.Context(), nil) {
		n++
		if team != nil || !admin.IsDenied(err) {
			t.Errorf("got %v, %v", team, err)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d times, want once", n)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		code connect.Code
		is   func(error) bool
	}{
		{connect.CodeNotFound, admin.IsNotFound},
		{connect.CodeAlreadyExists, admin.IsAlreadyExists},
		{connect.CodeAborted, admin.IsConflict},
		{connect.CodeInvalidArgument, admin.IsInvalid},
		{connect.CodeFailedPrecondition, admin.IsPrecondition},
		{connect.CodeUnauthenticated, admin.IsUnauthenticated},
		{connect.CodePermissionDenied, admin.IsDenied},
		{connect.CodeUnavailable, admin.IsUnavailable},
		{connect.CodeResourceExhausted, admin.IsExhausted},
	}
	api, client := start(t, adminfake.Token, admin.WithAttempts(1))
	for _, tt := range tests {
		t.Run(tt.code.String(), func(t *testing.T) {
			api.FailNext(adminfake.Failure(tt.code, "A_REASON", "A sentence.",
				&errdetails.BadRequest_FieldViolation{Field: "gateway.name", Description: "is wrong"}))
			_, err := client.Gateways.GetGateway(t.Context(), &adminv1.GetGatewayRequest{Name: "x"})
			err = fmt.Errorf("wrapped: %w", err)
			for _, other := range tests {
				if got := other.is(err); got != (other.code == tt.code) {
					t.Errorf("asked for %s: got %t", other.code, got)
				}
			}
			e, ok := admin.AsError(err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			want := &admin.Error{
				Code: tt.code.String(), Reason: "A_REASON", Message: "A sentence.", RequestID: "req-1",
				Fields: []admin.Field{{Path: "gateway.name", Problem: "is wrong"}},
			}
			if diff := cmp.Diff(want.Fields, e.Fields); diff != "" || e.Code != want.Code || e.Reason != want.Reason || e.RequestID != want.RequestID {
				t.Errorf("got %+v, want %+v", e, want)
			}
			if text := e.Error(); text != "A sentence.; gateway.name: is wrong" {
				t.Errorf("got %q", text)
			}
			if _, ok := errors.AsType[*connect.Error](err); !ok {
				t.Error("the Connect error is not reached")
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	client, err := admin.New(server.URL, "t", admin.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Configuration.GetHead(t.Context(), &adminv1.GetHeadRequest{})
	e, ok := admin.AsError(err)
	if !ok || !admin.IsUnavailable(err) || e.Reason != "" {
		t.Errorf("got %v, want unavailable without a reason", err)
	}
}

func TestWrongToken(t *testing.T) {
	for _, token := range []string{"", "pst_u_other"} {
		_, client := start(t, token)
		_, err := client.Gateways.ListGateways(t.Context(), &adminv1.ListGatewaysRequest{})
		if !admin.IsUnauthenticated(err) {
			t.Errorf("token %q: got %v", token, err)
		}
	}
}

// TestRetries: calls that change nothing are repeated while the server is unavailable; writes and other errors never are.
func TestRetries(t *testing.T) {
	away := func(n int) []error {
		return slices.Repeat([]error{adminfake.Failure(connect.CodeUnavailable, "STORE_UNAVAILABLE", "Away.")}, n)
	}
	tests := []struct {
		name     string
		failures []error
		call     func(context.Context, *admin.Client) error
		calls    int
		ok       bool
	}{
		{"read, back in time", away(2), read, 3, true},
		{"read, away too long", away(9), read, 3, false},
		{"read, other error", []error{adminfake.Failure(connect.CodeInternal, "INTERNAL", "Broken.")}, read, 1, false},
		{"write", away(1), write, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api, client := start(t, adminfake.Token, admin.WithAttempts(3))
			api.FailNext(tt.failures...)
			err := tt.call(t.Context(), client)
			if calls := api.Calls(); len(calls) != tt.calls || (err == nil) != tt.ok {
				t.Errorf("got %d calls and %v, want %d, success %t", len(calls), err, tt.calls, tt.ok)
			}
			if e, ok := admin.AsError(err); err != nil && (!ok || e.Reason == "") {
				t.Errorf("the server's own error is lost: %v", err)
			}
		})
	}
}

func read(ctx context.Context, c *admin.Client) error {
	_, err := c.Gateways.ListGateways(ctx, &adminv1.ListGatewaysRequest{})
	return err
}

func write(ctx context.Context, c *admin.Client) error {
	_, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: &resourcev1.Gateway{Name: "g"}})
	return err
}

// TestRetryEndsWithTheContext: the caller's deadline is kept between attempts.
func TestRetryEndsWithTheContext(t *testing.T) {
	api, client := start(t, adminfake.Token, admin.WithAttempts(100))
	for range 100 {
		api.FailNext(adminfake.Failure(connect.CodeUnavailable, "STORE_UNAVAILABLE", "Away."))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := read(ctx, client); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

// TestRedirects: a redirect would take the token to another place.
func TestRedirects(t *testing.T) {
	asked := make(chan string, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Authorization") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	client, err := admin.New(server.URL, "pst_u_x")
	if err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context(), client); err == nil {
		t.Error("no error")
	}
	select {
	case got := <-asked:
		t.Errorf("the redirect was followed with %q", got)
	default:
	}
}

func TestOptions(t *testing.T) {
	agent := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agent <- r.Header.Get("User-Agent") }))
	defer server.Close()
	own := &http.Client{Transport: &http.Transport{}}
	client, err := admin.New(server.URL, "t", admin.WithUserAgent("inventory/1.2"), admin.WithHTTPClient(nil), admin.WithHTTPClient(own), admin.WithAttempts(0))
	if err != nil {
		t.Fatal(err)
	}
	_ = read(t.Context(), client) // what the server answers is no answer
	if got := <-agent; got != "inventory/1.2" {
		t.Errorf("got %q", got)
	}
}
