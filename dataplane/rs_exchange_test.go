// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

// exchanger is an authserver that makes a credential for each question, and keeps what it was asked. It is reached in memory, so that
// time can be a bubble's.
type exchanger struct {
	credentialv1connect.UnimplementedCredentialServiceHandler

	mu       sync.Mutex
	asked    []string // principal, version, provider of the subject, and whether the server refused the one before
	subjects []string
	made     int
}

// Resolve implements the service.
func (e *exchanger) Resolve(_ context.Context, m *credentialv1.ResolveRequest) (*credentialv1.ResolveResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made++
	e.asked = append(e.asked, fmt.Sprintf("%s %s %q %t", m.GetPrincipal().GetUid(), m.GetVersion(), m.GetSubjectProvider(), m.GetRefused()))
	e.subjects = append(e.subjects, m.GetSubjectToken())
	return &credentialv1.ResolveResponse{
		Secret:     &credentialv1.StaticSecret{Headers: map[string]string{"Authorization": fmt.Sprintf("Bearer made-%d", e.made)}},
		ExpireTime: timestamppb.New(time.Now().Add(10 * time.Minute)),
	}, nil
}

// take returns what was asked since the last time.
func (e *exchanger) take() (asked, subjects []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked, subjects = e.asked, e.subjects
	e.asked, e.subjects = nil, nil
	return asked, subjects
}

// RoundTrip implements [http.RoundTripper].
func (e *exchanger) RoundTrip(r *http.Request) (*http.Response, error) {
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(e))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

func (e *exchanger) client(t *testing.T, log *obstest.Log) *credential.Client {
	t.Helper()
	c, err := credential.New(credential.Config{
		HTTP: &http.Client{Transport: e}, URL: "http://authserver.local", Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Propagator: propagation.TraceContext{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// JW-13, UP-9, G-12: a token that was presented at the gateway goes to the authserver to be exchanged and to nobody else; the server
// sees what it is exchanged for, which is the caller's alone, and is made anew when the way to it changes.
func TestPresentedTokensAreExchanged(t *testing.T) {
	p, e, log := newRSProvider(t), &exchanger{}, new(obstest.Log)
	credentials := e.client(t, log)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p, credentials: credentials, log: log}, func(w *rsWorld) {
		tools := func(version, provider string) func(*view.Builder) {
			return func(b *view.Builder) {
				b.PutServer("srv", &view.Server{
					Name: "srv", URL: "http://127.0.0.1/mcp", Protocol: modernVersion, NeedsSecret: true, Made: version, CallerOnly: true,
					Provider: provider, SubjectProvider: provider,
				})
			}
		}
		w.publishProvider(p, tools("m_1", "okta"))
		good := "" // credential that the server takes; empty: each
		w.origin.answers(func(in *inbound) {
			if got := in.header.Get("Authorization"); good != "" && got != good {
				in.w.WriteHeader(http.StatusUnauthorized)
				return
			}
			in.result(`{"resultType":"complete","content":[]}`)
		})
		var presented []string
		present := func(changes map[string]any) string {
			token := p.token("es", changes)
			presented = append(presented, token)
			return token
		}
		ada, again := present(nil), present(nil)
		bob := present(map[string]any{"sub": "sub-2", "aud": rsRB})
		is := func(token string) func() string { return func() string { return token } }
		for _, step := range []struct {
			name, gateway string
			token         func() string
			before        func()
			asked         []string
			subjects      []string
			sent          []string // credentials that the server saw
		}{
			{"exchanged", "eng", is(ada), func() {}, []string{`uid-u1 m_1 "okta" false`}, []string{ada}, []string{"Bearer made-1"}},
			{"out of the cache", "eng", is(ada), func() {}, nil, nil, []string{"Bearer made-1"}},
			{"with another token of the same person", "eng", is(again), func() {}, nil, nil, []string{"Bearer made-1"}},
			{"another person's", "support", is(bob), func() {}, []string{`uid-u2 m_1 "okta" false`}, []string{bob}, []string{"Bearer made-2"}},
			{
				"refused by the server", "eng", is(again), func() { good = "Bearer made-3" },
				[]string{`uid-u1 m_1 "okta" true`},
				[]string{again},
				[]string{"Bearer made-1", "Bearer made-3"},
			},
			{
				"made in another way now", "eng", is(ada), func() { good = ""; w.publishProvider(p, tools("m_2", "okta")) },
				[]string{`uid-u1 m_2 "okta" false`},
				[]string{ada},
				[]string{"Bearer made-4"},
			},
			{
				"another provider's are exchanged now", "eng", is(ada), func() { w.publishProvider(p, tools("m_3", "corp")) },
				[]string{`uid-u1 m_3 "" false`},
				[]string{""},
				[]string{"Bearer made-5"},
			},
			{
				"by way of the authserver nothing is presented", "eng", is(w.token(nil)), func() { w.publishProvider(p, tools("m_4", "okta")) },
				[]string{`uid-u1 m_4 "" false`},
				[]string{""},
				[]string{"Bearer made-6"},
			},
			{
				"nor with a static token", "eng", func() string { return w.static["u1"] }, func() { w.publishProvider(p, tools("m_5", "okta")) },
				[]string{`uid-u1 m_5 "" false`},
				[]string{""},
				[]string{"Bearer made-7"},
			},
			{
				"the provider is switched off", "eng", func() string { return w.static["u1"] }, func() {
					denials{holder: w.node.holder, credentials: credentials}.Denied([]view.Key{{Kind: "identity_provider", Name: "okta"}})
				},
				[]string{`uid-u1 m_5 "" false`},
				[]string{""},
				[]string{"Bearer made-8"},
			},
			{
				"another provider is", "eng", func() string { return w.static["u1"] }, func() {
					denials{holder: w.node.holder, credentials: credentials}.Denied([]view.Key{{Kind: "identity_provider", Name: "other"}})
				},
				nil, nil,
				[]string{"Bearer made-8"},
			},
		} {
			step.before()
			got := w.call(step.gateway, "srv__echo", step.token())
			if got.status != http.StatusOK {
				t.Errorf("%s: %d %s", step.name, got.status, got.body)
			}
			asked, subjects := e.take()
			if diff := cmp.Diff(step.asked, asked); diff != "" {
				t.Errorf("%s: the authserver was asked (-want +got):\n%s", step.name, diff)
			}
			if !slices.Equal(subjects, step.subjects) {
				t.Errorf("%s: the authserver got other subjects", step.name)
			}
			var sent []string
			for _, one := range w.origin.take() {
				sent = append(sent, one.header.Get("Authorization"))
				for _, token := range presented {
					if all := fmt.Sprint(one); strings.Contains(all, token) || strings.Contains(all, strings.Split(token, ".")[2]) {
						t.Errorf("%s: the server saw what was presented: %s", step.name, all)
					}
				}
			}
			if diff := cmp.Diff(step.sent, sent); diff != "" {
				t.Errorf("%s: the server saw (-want +got):\n%s", step.name, diff)
			}
			for _, token := range presented {
				if all := got.body + fmt.Sprint(got.header) + log.String(); strings.Contains(all, strings.Split(token, ".")[2]) {
					t.Errorf("%s: an answer or the log holds what was presented", step.name)
				}
			}
		}
	})
}
