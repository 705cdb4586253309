// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Kind is the kind of the tickets of requests.
const Kind = "authorization"

// Life is how long a request waits for its person (AZ-15).
const Life = 10 * time.Minute

// ReasonOver is the reason of the fault of a request that is answered, too old, or of another browser.
const ReasonOver = "AUTHORIZATION_REQUEST_OVER"

// Prefixes of secrets: of a request, in addresses and forms; and of the browser that made it, in a cookie.
const (
	requestPrefix = "psq_"
	browserPrefix = "psb_"
	browserCookie = "penstock-request"
)

// Request is an authorization request whose client and redirect URI are checked.
type Request struct {
	Client      string    `json:"client_id"`
	RedirectURI string    `json:"redirect_uri"` // as requested, with its port (AZ-3)
	State       string    `json:"state,omitempty"`
	Challenge   string    `json:"code_challenge,omitempty"`
	Gateway     string    `json:"gateway,omitempty"` // uid; empty: the only one that the person may use (AZ-5)
	Scopes      []string  `json:"scopes,omitempty"`  // as asked
	Silent      bool      `json:"silent,omitempty"`  // prompt=none: no page is shown
	Fresh       bool      `json:"fresh,omitempty"`   // prompt=login: only a login after Time will do
	Again       bool      `json:"again,omitempty"`   // prompt=consent: consent is asked even if it is there
	Time        time.Time `json:"time"`
	Browser     []byte    `json:"browser,omitempty"` // SHA-256 of the secret of the browser's cookie
}

// Waiting is a request that waits for its person, in her browser.
type Waiting struct {
	Request

	Secret  string // of the request
	browser string // secret of the cookie
}

// CSRF returns the token of a form about the request (AZ-15).
func (q Waiting) CSRF(about ...string) string {
	return pages.CSRF(q.browser, append([]string{q.Secret}, about...)...)
}

// ValidCSRF reports whether a token is that of [Waiting.CSRF].
func (q Waiting) ValidCSRF(token string, about ...string) bool {
	return pages.ValidCSRF(token, q.browser, append([]string{q.Secret}, about...)...)
}

// Wait stores a request, ties it to the browser with a cookie, and returns its secret. Errors are those of the store.
func (d *Desk) Wait(w http.ResponseWriter, r *http.Request, q Request) (string, error) {
	// One cookie serves all requests of a browser, so that two tabs can log in to two things.
	browser := pages.CookieValue(r, d.cfg.Issuer, browserCookie)
	sum, ok := ident.ParseSecret(browserPrefix, browser)
	if !ok {
		browser, sum = ident.MintSecret(browserPrefix)
	}
	q.Time, q.Browser = d.now(), sum[:]
	data, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("encode authorization request: %w", err)
	}
	secret, hash := ident.MintSecret(requestPrefix)
	ticket := store.Ticket{Kind: Kind, Hash: hash, Data: data, ExpireTime: q.Time.Add(Life)}
	err = d.cfg.Store.Update(r.Context(), func(ctx context.Context, tx store.OAuthTx) error { return tx.PutTicket(ctx, ticket) })
	if err != nil {
		return "", fmt.Errorf("store authorization request: %w", err)
	}
	http.SetCookie(w, pages.Cookie(d.cfg.Issuer, browserCookie, browser, Life))
	return secret, nil
}

// Find returns a waiting request by its secret, whatever the browser: for showing what it is about, never for answering it.
// Invalid, AUTHORIZATION_REQUEST_OVER: there is none.
func (d *Desk) Find(ctx context.Context, secret string) (Request, error) {
	hash, ok := ident.ParseSecret(requestPrefix, secret)
	if !ok {
		return Request{}, over()
	}
	t, err := d.cfg.Store.Ticket(ctx, Kind, hash)
	if err != nil {
		return Request{}, missing(err)
	}
	return d.open(t)
}

// Read is [Desk.Find] for the browser that the request belongs to.
func (d *Desk) Read(r *http.Request, secret string) (Waiting, error) {
	q, err := d.Find(r.Context(), secret)
	if err != nil {
		return Waiting{}, err
	}
	browser := pages.CookieValue(r, d.cfg.Issuer, browserCookie)
	if sum := sha256.Sum256([]byte(browser)); subtle.ConstantTimeCompare(sum[:], q.Browser) != 1 {
		return Waiting{}, over()
	}
	return Waiting{Request: q, Secret: secret, browser: browser}, nil
}

// Take removes a request in a transaction: of several answers one gets through (AZ-15). Invalid,
// AUTHORIZATION_REQUEST_OVER: it is gone or too old.
func (d *Desk) Take(ctx context.Context, tx store.OAuthTx, q Waiting) error {
	t, err := tx.TakeTicket(ctx, Kind, sha256.Sum256([]byte(q.Secret)))
	if err != nil {
		return missing(err)
	}
	_, err = d.open(t)
	return err
}

func (d *Desk) open(t store.Ticket) (Request, error) {
	if !d.now().Before(t.ExpireTime) {
		return Request{}, over()
	}
	var q Request
	if err := json.Unmarshal(t.Data, &q); err != nil {
		return Request{}, fmt.Errorf("decode authorization request: %w", err)
	}
	return q, nil
}

func over() *fault.Fault {
	return fault.New(fault.Invalid, ReasonOver, "The request is over.")
}

func missing(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return over().Because(err)
	}
	return fmt.Errorf("read authorization request: %w", err)
}
