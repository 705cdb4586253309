// SPDX-License-Identifier: Apache-2.0

package register

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
)

// Handler is the registration endpoint, POST /api/auth/oauth2/register. It is safe for concurrent use.
type Handler struct{ config Config }

// New checks the configuration and returns the handler.
func New(c Config) (*Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.UnusedTTL == 0 {
		c.UnusedTTL = c.TTL
	}
	return &Handler{c}, nil
}

// ServeHTTP registers a client: 201 with its metadata and client_id (RFC 7591 §3.2.1). Refusals are 400
// invalid_redirect_uri, invalid_client_metadata and unapproved_software_statement, 401 invalid_token without an initial
// access token where one is needed, 404 where registration is off, 405, 413 for a body over 64 KiB, and 429 with
// Retry-After. Every one is logged; those that are not about a rate are in the audit log too.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		oauthfault.Write(w, status(oauthfault.InvalidRequest, http.StatusMethodNotAllowed, "Registration takes POST."))
		return
	}
	answer, err := h.serve(w, r)
	if err != nil {
		h.refuse(r.Context(), err)
		oauthfault.Write(w, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer) //nolint:gosec // JSON, and said to be
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	ctx := r.Context()
	if retry, ok := h.config.Limiter.Allow(ctx, limit.Register, limit.Address(reqctx.From(ctx).IP)); !ok {
		e := oauthfault.New(oauthfault.SlowDown, "Too many registrations from this address. Wait and try again.")
		e.Retry = retry
		return nil, e
	}
	if h.config.Mode == Off {
		return nil, status(oauthfault.InvalidRequest, http.StatusNotFound, "Clients cannot register themselves here.")
	}
	if h.config.Mode == InitialToken && !h.admitted(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="penstock"`)
		return nil, oauthfault.New(oauthfault.InvalidToken, "Registration needs an initial access token. Ask an administrator for one.")
	}
	body, err := read(w, r)
	if err != nil {
		return nil, err
	}
	m, err := h.config.judge(body)
	if err != nil {
		return nil, err
	}
	return h.store(ctx, m)
}

// admitted reports whether the request has one of the initial access tokens.
func (h *Handler) admitted(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum, same := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for _, known := range h.config.InitialTokens {
		same |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	return strings.EqualFold(scheme, "Bearer") && same == 1
}

// read returns the body of a registration.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || media != "application/json" {
		return nil, oauthfault.New(oauthfault.InvalidClientMetadata, "The Content-Type must be application/json.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, status(oauthfault.InvalidClientMetadata, http.StatusRequestEntityTooLarge, "The registration is larger than 64 KiB.").Because(err)
	case err != nil:
		return nil, oauthfault.New(oauthfault.InvalidClientMetadata, "The registration could not be read.").Because(err)
	default:
		return body, nil
	}
}

func status(code oauthfault.Code, status int, text string) *oauthfault.Error {
	e := oauthfault.New(code, text)
	e.Status = status
	return e
}
