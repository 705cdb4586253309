// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	noopmeter "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const canary = "canary-4e1f-never-in-a-log"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authserver is the other side: the real protocol, without sockets, so that time can be a bubble's.
type authserver struct {
	credentialv1connect.UnimplementedCredentialServiceHandler

	mu    sync.Mutex
	asked []string // connection, version, principal of each question
	fail  error
	life  time.Duration // of what it releases; zero leaves the time out
	value string
	hold  chan struct{} // if set, an answer waits for it
	bare  bool          // answer without a secret

	behind int // questions from now on that it answers with another version

	subjects []string // "provider token" of each question for a credential; empty for none
}

func (a *authserver) Resolve(ctx context.Context, m *credentialv1.ResolveRequest) (*credentialv1.ResolveResponse, error) {
	a.mu.Lock()
	a.asked = append(a.asked, strings.TrimSpace(fmt.Sprint(m.GetConnectionUid(), " ", m.GetVersion(), " ", m.GetPrincipal().GetKind(), " ", m.GetPrincipal().GetUid()))+refusedMark(m.GetRefused()))
	a.subjects = append(a.subjects, strings.TrimSpace(m.GetSubjectProvider()+" "+m.GetSubjectToken()))
	hold, fail, life, value, bare := a.hold, a.fail, a.life, a.value, a.bare
	if a.behind > 0 {
		a.behind--
		fail = refusal(connect.CodeUnavailable, credential.ReasonBehind)
	}
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	r := &credentialv1.ResolveResponse{}
	if !bare {
		r.Secret = &credentialv1.StaticSecret{Headers: map[string]string{"authorization": value}, Env: map[string]string{"KEY": value}}
	}
	if life != 0 {
		r.ExpireTime = timestamppb.New(time.Now().Add(life))
	}
	return r, nil
}

// refusedMark stands behind a question for what was refused.
func refusedMark(refused bool) string {
	if refused {
		return " refused"
	}
	return ""
}

// CreateConnectLink makes links that are numbered.
func (a *authserver) CreateConnectLink(ctx context.Context, m *credentialv1.CreateConnectLinkRequest) (*credentialv1.CreateConnectLinkResponse, error) {
	a.mu.Lock()
	a.asked = append(a.asked, fmt.Sprint("link ", m.GetUserUid(), " ", m.GetServer(), " ", m.GetClientId(), " ", m.GetGateway()))
	n, hold, fail, bare := len(a.asked), a.hold, a.fail, a.bare
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case fail != nil:
		return nil, fail
	case bare:
		return &credentialv1.CreateConnectLinkResponse{}, nil
	}
	return &credentialv1.CreateConnectLinkResponse{Url: fmt.Sprint("https://auth.example.com/connect/", n)}, nil
}

func (a *authserver) set(change func(*authserver)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *authserver) questions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// RoundTrip hands a request to the service in memory.
func (a *authserver) RoundTrip(r *http.Request) (*http.Response, error) {
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(a))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

type bench struct {
	*credential.Client
	server *authserver
	log    *bytes.Buffer
}

// bubble runs a test in a synctest bubble with a running client.
func bubble(t *testing.T, max int, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{server: &authserver{life: 15 * time.Minute, value: canary}, log: new(bytes.Buffer)}
		b.Client = newClient(t, b.server, b.log, max)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		test(t, b)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if strings.Contains(b.log.String(), canary) {
			t.Errorf("the secret is in the log: %s", b.log)
		}
	})
}

func newClient(t testing.TB, transport http.RoundTripper, log *bytes.Buffer, max int) *credential.Client {
	t.Helper()
	c, err := credential.New(credential.Config{
		HTTP: &http.Client{Transport: transport}, URL: "http://authserver.local", MaxEntries: max,
		Log: slog.New(slog.NewJSONHandler(log, nil)), Tracer: noop.NewTracerProvider(), Meter: noopmeter.NewMeterProvider(),
		Propagator: propagation.TraceContext{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func user(uid string) ident.Principal {
	return ident.Principal{Kind: ident.KindUser, UID: uid, Name: uid + "@example.org"}
}

func wanted(connection, version string, p ident.Principal) credential.Wanted {
	return credential.Wanted{Connection: connection, Version: version, Principal: p}
}

func (b *bench) want(t *testing.T, connection, version string, p ident.Principal, value string) {
	t.Helper()
	c, err := b.Resolve(t.Context(), wanted(connection, version, p))
	if err != nil {
		t.Fatalf("resolve: %v", err)
	}
	got := fmt.Sprint(c.Key, c.RevealHeaders(), c.RevealEnv())
	if want := fmt.Sprint(connection+"/"+version, http.Header{"Authorization": {value}}, map[string]string{"KEY": value}); got != want {
		t.Errorf("resolved %s, want %s", got, want)
	}
	if printed := fmt.Sprintf("%v %+v %#v", c, *c, c.Headers); strings.Contains(printed, value) {
		t.Errorf("printing shows the secret: %s", printed)
	}
}

func (b *bench) wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error is %v, want %v %s", err, kind, reason)
	}
}
