// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/grants/params"
	"github.com/penstockhq/penstock/authserver/internal/idjag"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Authenticator says which client a request comes from; it is the clients room.
type Authenticator interface {
	// Authenticate returns the client, or an [oauthfault.Error].
	Authenticate(ctx context.Context, r *http.Request, form url.Values) (*clients.Client, error)
	// Touch notes in a transaction that the client was used (REG-9).
	Touch(ctx context.Context, tx store.OAuthTx, c *clients.Client) error
}

// Signer signs access tokens; it is the signing keys.
type Signer interface {
	Sign(ctx context.Context, typ string, claims any) (string, error)
}

// Config is what the token endpoint needs.
type Config struct {
	Issuer  string // `iss`, byte for byte (AS-3)
	Grants  *grants.Grants
	Clients Authenticator
	Keys    Signer
	View    func() *directory.View
	Store   store.OAuth // for the audit of refusals
	// Assertions judges identity assertions.
	Assertions Assertions
	// AccessTTL is the lifetime of access tokens: what Grants was told, too.
	AccessTTL time.Duration
	// ClientCredentials turns the grant type client_credentials on (TK-19).
	ClientCredentials bool
	Log               *slog.Logger
	Now               func() time.Time // time.Now if nil
}

// Endpoint is the token endpoint. It is safe for concurrent use.
type Endpoint struct {
	c      Config
	engine engine
}

// engine turns a request whose form is parsed into the parameters of an answer. It is all that this room knows of the library
// behind it.
type engine interface {
	answer(ctx context.Context, r *http.Request, form url.Values) (map[string]any, error)
}

// New returns the endpoint on its parts.
func New(c Config) (*Endpoint, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Grants == nil || c.Clients == nil || c.Keys == nil || c.View == nil || c.Store == nil || c.Assertions == nil || c.Log == nil {
		return nil, errors.New("the token endpoint needs grants, clients, keys, a directory, a store, rules for assertions and a log")
	}
	if c.Issuer == "" || c.AccessTTL <= 0 {
		return nil, errors.New("the token endpoint needs an issuer and a lifetime of tokens")
	}
	e := &Endpoint{c: c}
	e.engine = newFositeEngine(e)
	return e, nil
}

// ServeHTTP answers POST of /api/auth/oauth2/token: a form in, JSON out, never cached. Success is 200 with access_token,
// token_type, expires_in (seconds), scope and, where there is one, refresh_token (RFC 6749 §5.1); errors are those of the
// table in auth.md §5.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refused := oauthfault.New(oauthfault.InvalidRequest, "The token endpoint takes POST only.")
		refused.Status = http.StatusMethodNotAllowed
		oauthfault.Write(w, refused)
		return
	}
	form, err := readForm(r)
	if err != nil {
		oauthfault.Write(w, err)
		return
	}
	answer, err := e.engine.answer(r.Context(), r, form)
	if err != nil {
		e.refuse(w, r, form, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		e.refuse(w, r, form, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	_, _ = w.Write(body)
}

func readForm(r *http.Request) (url.Values, error) {
	body, err := params.Read(r.Body)
	if err != nil {
		return nil, err
	}
	return params.Parse(r.Header.Values("Content-Type"), r.URL.RawQuery, body)
}

// refuse answers with an error, and records it (AU-2) or, where somebody must act, logs it.
func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, form url.Values, err error) {
	ctx, refused := r.Context(), oauthfault.From(err)
	switch {
	case ctx.Err() != nil: // the client has gone
	case refused.Code == oauthfault.ServerError:
		e.c.Log.ErrorContext(ctx, "token request not answered", obs.AttrRequestID, reqctx.From(ctx).ID, obs.AttrError, err.Error())
	case refused.Code == oauthfault.TemporarilyUnavailable:
		e.c.Log.WarnContext(ctx, "token request not answered", obs.AttrRequestID, reqctx.From(ctx).ID, obs.AttrError, err.Error())
	case recordable(refused):
		j, _ := errors.AsType[judged](err)
		e.record(ctx, claimed(r, form), form.Get("grant_type"), refused, j.facts)
	}
	oauthfault.Write(w, refused)
}

// recordable reports whether a refusal says something of a client or a grant. What grants refuses with a change it has
// recorded with that; a request without form or sense is noise.
func recordable(refused *oauthfault.Error) bool {
	switch refused.Reason {
	case grants.ReasonCodeReplayed, grants.ReasonRefreshReused:
		return false
	}
	switch refused.Code {
	case oauthfault.InvalidClient, oauthfault.InvalidGrant, oauthfault.UnauthorizedClient, oauthfault.InvalidScope, oauthfault.InvalidTarget:
		return true
	default:
		return false
	}
}

func (e *Endpoint) record(ctx context.Context, client, grantType string, refused *oauthfault.Error, facts idjag.Facts) {
	action := "token.issued"
	switch grantType {
	case refreshToken:
		action = "token.refreshed"
	case jwtBearer:
		action = "idjag.rejected"
	}
	event := reqctx.Event(ctx, action, "refused")
	event.ActorType, event.Client, event.Reason = "client", clip(client), string(refused.Code)
	if refused.Reason != "" {
		event.Reason = refused.Reason
	}
	event.Issuer, event.Subject, event.Token = facts.Issuer, facts.SubjectHash, facts.IDHash
	// The answer is no even if the client has gone; the limit is that of the write alone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	err := e.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, event) })
	if err != nil {
		e.c.Log.WarnContext(ctx, "refusal not recorded", obs.AttrRequestID, event.RequestID, obs.AttrError, err.Error())
	}
}

// recordTimeout bounds the write of an audit event.
const recordTimeout = 5 * time.Second

// claimed is the client that a request says it comes from, in its form or in HTTP Basic.
func claimed(r *http.Request, form url.Values) string {
	if id := form.Get("client_id"); id != "" {
		return id
	}
	name, _, _ := r.BasicAuth()
	id, err := url.QueryUnescape(name)
	if err != nil || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return id
}

// clip bounds what a stranger can make us keep: a client_id is 512 characters at most (CIMD-1).
func clip(id string) string {
	const most = 512
	if len(id) > most {
		return ""
	}
	return id
}
