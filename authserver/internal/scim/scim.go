// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Prefix is the path of everything here, below the issuer's path.
const Prefix = "/scim/v2/"

const (
	tokenPrefix = "psm_" // ST-1
	contentType = "application/scim+json"
	// maxBody bounds a request: a group of 10,000 members, each with a link and a name.
	maxBody = 4 << 20
	// tries is how often a change is made anew that met another one.
	tries = 4
)

// Directory reads and changes users and teams of identity providers, by the name of the provider. [directory.Remote] has the
// faults.
type Directory interface {
	ListUsers(ctx context.Context, provider string, w directory.Wanted) (page []directory.Provisioned, total int, err error)
	PutUser(ctx context.Context, provider string, u directory.Provisioned) (stored directory.Provisioned, revision uint64, err error)
	ListTeams(ctx context.Context, provider string, w directory.Wanted) (page []directory.ProvisionedTeam, total int, err error)
	ChangeTeam(ctx context.Context, provider string, c directory.TeamChange) (stored directory.ProvisionedTeam, revision uint64, err error)
}

// Limiter counts requests; [limit.Limiter] is one.
type Limiter interface {
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
	Check(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what a [Handler] needs. All fields are required.
type Config struct {
	Issuer    string
	View      func() *directory.View // nil before the first state
	Directory Directory
	// Await returns when this authserver has a revision of the directory, or with an error when that takes too long.
	Await func(ctx context.Context, revision uint64) error
	// RevokeUser ends everything that a user (uid) has: logins, grants, access tokens.
	RevokeUser func(ctx context.Context, user string) error
	Store      store.OAuth // for the audit
	Limiter    Limiter
	Log        *slog.Logger
}

// Handler serves SCIM. It is safe for concurrent use.
type Handler struct {
	c    Config
	base string // URL that resources are under
	mux  *http.ServeMux
}

// New returns a handler. It starts nothing.
func New(c Config) (*Handler, error) {
	if c.Issuer == "" || c.View == nil || c.Directory == nil || c.Await == nil || c.RevokeUser == nil || c.Store == nil || c.Limiter == nil || c.Log == nil {
		return nil, errors.New("SCIM needs an issuer, a directory, a way to revoke, a store, a limiter and a log")
	}
	h := &Handler{c: c, base: strings.TrimSuffix(c.Issuer, "/") + Prefix, mux: http.NewServeMux()}
	for pattern, serve := range map[string]func(*call) error{
		"GET /ServiceProviderConfig": h.serviceProviderConfig, "GET /ResourceTypes": h.resourceTypes, "GET /ResourceTypes/{id}": h.resourceTypes,
		"GET /Schemas": h.schemas, "GET /Schemas/{id}": h.schemas,
		"GET /Users": h.listUsers, "POST /Users": h.createUser, "GET /Users/{id}": h.getUser, "PUT /Users/{id}": h.replaceUser,
		"PATCH /Users/{id}": h.patchUser, "DELETE /Users/{id}": h.deleteUser,
		"GET /Groups": h.listGroups, "POST /Groups": h.createGroup, "GET /Groups/{id}": h.getGroup, "PUT /Groups/{id}": h.replaceGroup,
		"PATCH /Groups/{id}": h.patchGroup, "DELETE /Groups/{id}": h.deleteGroup,
	} {
		h.mux.Handle(pattern, &route{h, serve})
	}
	return h, nil
}

// call is one request of an identity provider.
type call struct {
	w        http.ResponseWriter
	r        *http.Request
	ctx      context.Context //nolint:containedctx // a call lives as long as its request
	provider *directory.Provider
}

// route is one operation.
type route struct {
	h     *Handler
	serve func(*call) error
}

// ServeHTTP implements [http.Handler]: the handler itself has found out who calls.
func (t *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, ctx: r.Context()}
	var err error
	if c.provider, err = t.h.caller(r); err == nil {
		err = t.serve(c)
	}
	if err != nil {
		t.h.fail(c, err)
	}
}

// ServeHTTP serves everything under [Prefix]. Answers are application/scim+json; errors have the form of RFC 7644 §3.12: 401
// for a token that is none, 404, 409 with uniqueness, 412, 413, 415, 429 with Retry-After, 503 while the directory cannot be
// reached, and 400 with the scimType of the mistake.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	c := &call{w: w, r: r, ctx: r.Context()}
	_, path, _ := strings.Cut(r.URL.Path, strings.TrimSuffix(Prefix, "/"))
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = strings.TrimSuffix(path, "/"), ""
	if _, pattern := h.mux.Handler(inner); pattern != "" {
		h.mux.ServeHTTP(w, inner)
		return
	}
	if _, err := h.caller(r); err != nil {
		h.fail(c, err)
		return
	}
	status := http.StatusNotFound
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		other := inner.Clone(r.Context())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "" {
			status = http.StatusMethodNotAllowed
		}
	}
	switch first, _, _ := strings.Cut(strings.TrimPrefix(inner.URL.Path, "/"), "/"); first {
	case "Me", "Bulk", ".search":
		status = http.StatusNotImplemented // RFC 7644 §3.11, §3.7, §3.4.3
	}
	h.fail(c, &problem{status: status, detail: "There is nothing here that can be done; see " + h.base + "ServiceProviderConfig."})
}

// caller returns the identity provider whose token a request carries.
func (h *Handler) caller(r *http.Request) (*directory.Provider, error) {
	ctx, address := r.Context(), limit.Address(reqctx.From(r.Context()).IP)
	if retry, ok := h.c.Limiter.Allow(ctx, limit.SCIM, address); !ok {
		return nil, slow(retry)
	}
	if retry, ok := h.c.Limiter.Check(ctx, limit.SCIMFailure, address); !ok {
		return nil, slow(retry)
	}
	view := h.c.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, directory.ReasonUnreachable, "The directory is not there yet.")
	}
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if hash, ok := ident.ParseSecret(tokenPrefix, token); ok && strings.EqualFold(scheme, "Bearer") {
			if p := view.ProviderOf(hash); p != nil {
				return p, nil
			}
		}
	}
	h.c.Limiter.Allow(ctx, limit.SCIMFailure, address)
	return nil, &problem{status: http.StatusUnauthorized, detail: "The bearer token is missing or not one of an identity provider; make one with penstock identity-provider create-scim-token."}
}

func slow(retry time.Duration) error {
	return fault.New(fault.Exhausted, "TOO_MANY_REQUESTS", "Too many requests. Wait and try again.").After(max(retry, time.Second))
}

// body reads the JSON object of a request.
func (c *call) body() (object, error) {
	if value := c.r.Header.Get("Content-Type"); value != "" {
		if kind, _, err := mime.ParseMediaType(value); err != nil || kind != contentType && kind != "application/json" {
			return nil, &problem{status: http.StatusUnsupportedMediaType, detail: "Send " + contentType + "."}
		}
	}
	return readObject(http.MaxBytesReader(c.w, c.r.Body, maxBody))
}

// record appends an audit event (AU-3).
func (h *Handler) record(c *call, action, target, reason string) {
	e := reqctx.Event(c.ctx, "scim."+action, "ok")
	if reason != "" {
		e.Result, e.Reason = "refused", reason
	}
	e.ActorType, e.Actor, e.Target = "identity_provider", c.provider.Name, target
	err := h.c.Store.Update(c.ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil && c.ctx.Err() == nil { // what was done is in the revision log, too
		h.c.Log.ErrorContext(c.ctx, "provisioning not recorded", obs.Fault(err))
	}
}
