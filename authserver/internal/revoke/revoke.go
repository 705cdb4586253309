// SPDX-License-Identifier: Apache-2.0

package revoke

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/grants/params"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Authenticator says which client a request comes from; it is the clients room.
type Authenticator interface {
	// Authenticate returns the client, or an [oauthfault.Error].
	Authenticate(ctx context.Context, r *http.Request, form url.Values) (*clients.Client, error)
}

// Config is what the revocation endpoint needs.
type Config struct {
	Grants  *grants.Grants
	Clients Authenticator
	Log     *slog.Logger
}

// Endpoint is the revocation endpoint. It is safe for concurrent use.
type Endpoint struct{ c Config }

// New returns the endpoint on its parts.
func New(c Config) (*Endpoint, error) {
	if c.Grants == nil || c.Clients == nil || c.Log == nil {
		return nil, errors.New("the revocation endpoint needs grants, clients and a log")
	}
	return &Endpoint{c: c}, nil
}

// ServeHTTP answers POST of /api/auth/oauth2/revoke: a form with token, of an authenticated client. The answer is 200 without
// a body when the token is revoked, and the same for one that is unknown or another client's, which stays as it is (RFC 7009
// §2.2). token_type_hint is not needed: a token tells what it is.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refused := oauthfault.New(oauthfault.InvalidRequest, "The revocation endpoint takes POST only.")
		refused.Status = http.StatusMethodNotAllowed
		oauthfault.Write(w, refused)
		return
	}
	if err := e.revoke(r); err != nil {
		if refused := oauthfault.From(err); refused.Status >= http.StatusInternalServerError {
			e.c.Log.ErrorContext(r.Context(), "revocation not answered",
				obs.AttrRequestID, reqctx.From(r.Context()).ID, obs.AttrError, err.Error())
		}
		oauthfault.Write(w, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusOK)
}

func (e *Endpoint) revoke(r *http.Request) error {
	body, err := params.Read(r.Body)
	if err != nil {
		return err
	}
	form, err := params.Parse(r.Header.Values("Content-Type"), r.URL.RawQuery, body)
	if err != nil {
		return err
	}
	client, err := e.c.Clients.Authenticate(r.Context(), r, form)
	if err != nil {
		return err
	}
	token := form.Get("token")
	if token == "" {
		return oauthfault.New(oauthfault.InvalidRequest, "The parameter token is missing.")
	}
	return e.c.Grants.RevokeToken(r.Context(), client.ID, token)
}
