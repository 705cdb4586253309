// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// grants is an authserver that keeps one credential, which it renews when it is told that a server refused it.
type grants struct {
	credentialv1connect.UnimplementedCredentialServiceHandler

	mu      sync.Mutex
	asked   []string
	scope   string // of the last link
	token   string
	renewed string // what token becomes
	fail    error  // of a renewal
}

func (g *grants) Resolve(_ context.Context, m *credentialv1.ResolveRequest) (*credentialv1.ResolveResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, fmt.Sprint(m.GetConnectionUid(), " ", m.GetPrincipal().GetUid(), " ", m.GetRefused()))
	if m.GetRefused() {
		if g.fail != nil {
			return nil, g.fail
		}
		g.token = g.renewed
	}
	return &credentialv1.ResolveResponse{
		Secret:     &credentialv1.StaticSecret{Headers: map[string]string{"Authorization": g.token}},
		ExpireTime: timestamppb.New(time.Now().Add(15 * time.Minute)),
	}, nil
}

func (g *grants) CreateConnectLink(_ context.Context, m *credentialv1.CreateConnectLinkRequest) (*credentialv1.CreateConnectLinkResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scope = m.GetScope()
	return &credentialv1.CreateConnectLinkResponse{Url: "https://auth.example.com/connect/x"}, nil
}

func (g *grants) set(token, renewed string, fail error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked, g.scope, g.token, g.renewed, g.fail = nil, "", token, renewed, fail
}

// client returns a node's client of the authserver.
func (g *grants) client(t *testing.T) *credential.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(g))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := credential.New(credential.Config{
		HTTP: &http.Client{Transport: transport}, URL: web.URL, Log: slog.New(slog.DiscardHandler),
		Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Propagator: propagation.TraceContext{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func precondition(reason string) error {
	err := connect.NewError(connect.CodeFailedPrecondition, errors.New("No."))
	if detail, detailErr := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: reason, Domain: "penstock"}); detailErr == nil {
		err.AddDetail(detail)
	}
	return err
}

// UP-8, 155: an upstream that refuses a credential gets a renewed one, once; what it still refuses is the answer to the tool, never
// ours to the client.
func TestRefusedByUpstream(t *testing.T) {
	const link = `"connect_url":"https://auth.example.com/connect/x"`
	for _, legacy := range []bool{false, true} {
		g := &grants{}
		n := &relayed{name: "node", credentials: g.client(t)}
		n.start(t, new(net.Dialer).DialContext, func(*relayed, *edge.Config) {})
		o := newOrigin(t, legacy)
		s := &view.Server{Name: "gh", DisplayName: "GitHub", URL: o.url, Protocol: modernVersion, NeedsSecret: true}
		if legacy {
			s.Protocol = legacyVersion
		}
		version := 0
		for _, tc := range []struct {
			name           string
			token, renewed string
			fail           error
			challenge      int // status of the refusal
			want           []string
			sent           []string // credentials that the upstream saw
			asked          int
		}{
			{"good", "good", "", nil, 401, []string{`"content":[]`}, []string{"good"}, 1},
			{"renewed", "old", "good", nil, 401, []string{`"content":[]`}, []string{"old", "good"}, 2},
			{"refused twice (155)", "old", "older", nil, 401, []string{`"isError":true`, `"type":"UPSTREAM_AUTH_FAILED"`, link}, []string{"old", "older"}, 2},
			{"dead (UP-5, EL-2)", "old", "", precondition("CREDENTIAL_DEAD"), 401, []string{`"resultType":"input_required"`, `"url":"https://auth.example.com/connect/x"`, `"requestState":"pst1.`}, []string{"old"}, 2},
			{"authserver away", "old", "", errors.New("away"), 401, []string{`"isError":true`, `"type":"AUTHSERVER_UNAVAILABLE"`}, []string{"old"}, 2},
			{"insufficient scope", "old", "good", nil, 403, []string{`"isError":true`, `"type":"UPSTREAM_INSUFFICIENT_SCOPE"`, link}, []string{"old"}, 1},
		} {
			t.Run(fmt.Sprintf("%s/legacy %t", tc.name, legacy), func(t *testing.T) {
				g.set(tc.token, tc.renewed, tc.fail)
				version++ // of the credential: nothing is cached
				b := view.From(nil)
				b.PutServer("gh", s)
				b.PutConnection("own", &view.Connection{
					Name: "own", UID: "c-own", Server: "gh", OwnerKind: compile.OwnerUser, Owner: "ada@example.com", CredentialVersion: fmt.Sprint(version),
				})
				tool := aTool("gh", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`)
				tool.AtCall, tool.Connection = true, ""
				b.PutGateway(&view.Gateway{
					Gateway: compile.Gateway{Name: "eng", UID: "g-eng", Visibility: view.Visibility{Organization: true}, BearerTokens: true}, Tools: []*view.Tool{tool},
				})
				n.holder.Publish(b.Build("e", uint64(version)))
				var sent []string
				o.answers(func(in *inbound) {
					token := in.header.Get("Authorization")
					if sent = append(sent, token); token == "good" {
						in.result(`{"resultType":"complete","content":[]}`)
						return
					}
					in.w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="repo"`)
					in.w.WriteHeader(tc.challenge)
				})
				body, headers := modernCall("gh__echo", "x")
				r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				for _, h := range headers {
					name, value, _ := strings.Cut(h, ": ")
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				n.edge.ServeHTTP(w, r)
				text, _ := io.ReadAll(w.Body)
				if w.Code != http.StatusOK || w.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("status %d, %v", w.Code, w.Header())
				}
				for _, want := range tc.want {
					if !strings.Contains(string(text), want) {
						t.Errorf("got %s, want %s", text, want)
					}
				}
				if wanted := map[int]string{http.StatusForbidden: "repo"}[tc.challenge]; g.scope != wanted {
					t.Errorf("the link is for the scope %q, want %q", g.scope, wanted)
				}
				if !slices.Equal(sent, tc.sent) || len(g.asked) != tc.asked {
					t.Errorf("the upstream saw %q, the authserver %q", sent, g.asked)
				}
			})
		}
	}
}
