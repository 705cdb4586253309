// SPDX-License-Identifier: Apache-2.0

package introspect

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/grants/params"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Scope is the gateways that a node holds.
type Scope interface {
	// Holds reports whether a gateway (uid) is in the scope.
	Holds(gateway string) bool
}

// Config is what the introspection endpoint needs.
type Config struct {
	Grants *grants.Grants
	// Node returns the scope of the node that a request comes from, false if it comes from none. Nil means that no request
	// comes from a node: every one is answered with 401, as on the public listener.
	Node func(r *http.Request) (Scope, bool)
	Log  *slog.Logger
}

// Endpoint is the introspection endpoint. It is safe for concurrent use.
type Endpoint struct{ c Config }

// New returns the endpoint on its parts.
func New(c Config) (*Endpoint, error) {
	if c.Grants == nil || c.Log == nil {
		return nil, errors.New("the introspection endpoint needs grants and a log")
	}
	return &Endpoint{c: c}, nil
}

// answer is that of an active token (RFC 7662 §2.2).
type answer struct {
	Active    bool   `json:"active"`
	TokenType string `json:"token_type"`
	grants.Claims
}

// ServeHTTP answers POST of /api/auth/oauth2/introspect, a form with token. The answer is JSON: active true with the claims of
// the access token, or {"active":false} alone, whatever the reason: not ours, over, revoked, its user or gateway gone, or its
// gateway not in the node's scope. Who is no node gets 401 invalid_client.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refused := oauthfault.New(oauthfault.InvalidRequest, "The introspection endpoint takes POST only.")
		refused.Status = http.StatusMethodNotAllowed
		oauthfault.Write(w, refused)
		return
	}
	body, err := e.inspect(r)
	if err != nil {
		if refused := oauthfault.From(err); refused.Status >= http.StatusInternalServerError {
			e.c.Log.ErrorContext(r.Context(), "introspection not answered",
				obs.AttrRequestID, reqctx.From(r.Context()).ID, obs.AttrError, err.Error())
		}
		oauthfault.Write(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	_, _ = w.Write(body) //nolint:gosec // JSON of claims that we signed
}

func (e *Endpoint) inspect(r *http.Request) ([]byte, error) {
	scope, ok := e.node(r)
	if !ok {
		return nil, oauthfault.New(oauthfault.InvalidClient, "Only nodes may introspect tokens.").For("not_a_node")
	}
	body, err := params.Read(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := params.Parse(r.Header.Values("Content-Type"), r.URL.RawQuery, body)
	if err != nil {
		return nil, err
	}
	token := form.Get("token")
	if token == "" {
		return nil, oauthfault.New(oauthfault.InvalidRequest, "The parameter token is missing.")
	}
	claims, gateway, active, err := e.c.Grants.Inspect(r.Context(), token)
	if err != nil {
		return nil, err
	}
	if !active || !scope.Holds(gateway) {
		return []byte(`{"active":false}`), nil
	}
	return json.Marshal(answer{Active: true, TokenType: "Bearer", Claims: claims})
}

func (e *Endpoint) node(r *http.Request) (Scope, bool) {
	if e.c.Node == nil {
		return nil, false
	}
	return e.c.Node(r)
}
