// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// telling is a real MCP server that remembers the headers of every request. While it refuses, it tells whoever asks what they sent, as
// careless servers do: in the challenge, in the text and in a header of its own.
type telling struct {
	URL    string
	as     *identityProvider // the authorization server that its metadata name; nil has none
	refuse atomic.Bool

	to   *upstream
	mu   sync.Mutex // guards seen
	seen strings.Builder
}

func newTelling(t *testing.T, as *identityProvider) *telling {
	t.Helper()
	s := &telling{as: as, to: newUpstream(t, "")}
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.CloseClientConnections() // a node may listen for messages still
		web.Close()
	})
	s.URL = web.URL + "/mcp"
	return s
}

// ServeHTTP implements [http.Handler].
func (s *telling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.as != nil && r.URL.Path == "/.well-known/oauth-protected-resource/mcp" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"resource": s.URL, "authorization_servers": []string{s.as.issuer()}}) // who asked may be gone
		return
	}
	s.mu.Lock()
	_, _ = fmt.Fprintln(&s.seen, r.Header) // a builder takes everything
	s.mu.Unlock()
	if !s.refuse.Load() {
		s.to.handler.ServeHTTP(w, r)
		return
	}
	sent := r.Header.Get("Authorization") + " " + r.Header.Get(secretHeader)
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer error=%q, error_description=%q", "invalid_token", "not good: "+sent))
	w.Header().Set("X-Sent", sent)
	http.Error(w, "not good: "+sent, http.StatusUnauthorized)
}

// recording is what the server saw.
func (s *telling) recording() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// overheard is an authorization server of others all of whose secrets are remembered: what it is sent to its token endpoint, and the
// codes and tokens that it gives. While it refuses, its errors repeat what they are about.
type overheard struct {
	t      *testing.T
	to     http.Handler
	known  *canaries
	refuse atomic.Bool

	mu       sync.Mutex // guards repeated
	repeated []string   // names of what refusals were about, a text for each
}

// ServeHTTP implements [http.Handler].
func (o *overheard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	atToken := r.URL.Path == "/oauth/token"
	var sent, names []string
	if atToken {
		for _, name := range []string{"code", "code_verifier", "client_secret", "refresh_token", "subject_token", "assertion"} {
			if value := r.PostFormValue(name); value != "" {
				o.known.note(name+" at a provider", value)
				sent, names = append(sent, value), append(names, name)
			}
		}
		if _, secret, ok := r.BasicAuth(); ok {
			sent, names = append(sent, secret), append(names, "client_secret_basic")
		}
	}
	if atToken && o.refuse.Load() {
		o.mu.Lock()
		o.repeated = append(o.repeated, strings.Join(names, " "))
		o.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{ // who asked may be gone
			"error": "invalid_grant", "error_description": "not good: " + strings.Join(sent, " "), "error_uri": "https://as.example/?" + strings.Join(sent, "&"),
		})
		return
	}
	answer := httptest.NewRecorder()
	o.to.ServeHTTP(answer, r)
	var given map[string]any
	if atToken && json.Unmarshal(answer.Body.Bytes(), &given) == nil {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if value, _ := given[name].(string); value != "" {
				o.known.note(name+" of a provider", value)
			}
		}
	}
	if to, err := url.Parse(answer.Header().Get("Location")); err == nil && to.Query().Get("code") != "" {
		o.known.note("code of a provider", to.Query().Get("code"))
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // who asked may be gone
}

// refusals are what it refused so far.
func (o *overheard) refusals() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.repeated)
}

// secretStorage is the provider's storage with what Penstock is at it besides: a service account, whose tokens it gets for itself, and a
// client that may exchange access tokens of anybody.
type secretStorage struct {
	*jwtStorage

	account string // secret of the service account "account"
}

// exampleService is the service account that the library's example has.
const exampleService, exampleServiceSecret = "sid1", "verysecret"

// ClientCredentials implements op.ClientCredentialsStorage.
func (s secretStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if id != "account" || secret != s.account {
		return nil, errors.New("no such account")
	}
	return s.Storage.ClientCredentials(ctx, exampleService, exampleServiceSecret)
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (s secretStorage) ClientCredentialsTokenRequest(ctx context.Context, _ string, scopes []string) (op.TokenRequest, error) {
	return s.Storage.ClientCredentialsTokenRequest(ctx, exampleService, scopes)
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage.
func (s secretStorage) ValidateTokenExchangeRequest(ctx context.Context, r op.TokenExchangeRequest) error {
	if r.GetClientID() == "exchanger" && r.GetExchangeSubjectTokenType() == oidc.AccessTokenType {
		return nil
	}
	return s.jwtStorage.ValidateTokenExchangeRequest(ctx, r)
}

// forServer is the renewal of a login whose tokens are for a server.
type forServer struct{ op.RefreshTokenRequest }

// GetAudience implements op.RefreshTokenRequest.
func (forServer) GetAudience() []string { return []string{"given"} }

// TokenRequestByRefreshToken implements op.Storage.
func (s secretStorage) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	r, err := s.jwtStorage.TokenRequestByRefreshToken(ctx, token)
	if err != nil || r.GetClientID() != "penstock" {
		return r, err
	}
	return forServer{r}, nil
}

// GetClientByClientID implements op.Storage: Penstock gets JWTs.
func (s secretStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.jwtStorage.GetClientByClientID(ctx, id)
	if err != nil || id != "penstock" {
		return c, err
	}
	return jwtClient{c}, nil
}
