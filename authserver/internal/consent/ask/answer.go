// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Case is a request with what is known of it. Client is set always, the rest as far as it is known.
type Case struct {
	Request Request
	Client  *clients.Client
	Gateway *directory.Gateway
	User    string // uid
	// Decided: a person has just decided on a page that named the client, so no further button is needed (AZ-23).
	Decided bool
}

// Code answers with an authorization code.
func (d *Desk) Code(w http.ResponseWriter, r *http.Request, c Case, code string) {
	d.send(w, r, c, url.Values{"code": {code}}, false)
}

// Refuse records a refusal and answers with it (AZ-20).
func (d *Desk) Refuse(w http.ResponseWriter, r *http.Request, c Case, e *oauthfault.Error) {
	action := "authorize.refused"
	if e.Code == oauthfault.AccessDenied {
		action = "access.denied"
	}
	event := reqctx.Event(r.Context(), action, "refused")
	event.Client, event.Reason = c.Client.ID, string(e.Code)
	if c.User != "" {
		event.ActorType, event.Actor = "user", c.User
	}
	if c.Gateway != nil {
		event.Target = c.Gateway.UID
	}
	d.Record(r.Context(), event)
	d.Deny(w, r, c, e)
}

// Deny answers with a refusal that is recorded already. It goes to the client at once if the client is known to the
// organisation or to the person, or the person has just decided; else a page with a button leads there (AZ-23).
func (d *Desk) Deny(w http.ResponseWriter, r *http.Request, c Case, e *oauthfault.Error) {
	if e.Unwrap() != nil {
		d.Log(r.Context(), e)
	}
	answer := url.Values{"error": {string(e.Code)}}
	text := e.Description
	if id := reqctx.From(r.Context()).ID; id != "" {
		text += " Request " + id
	}
	answer.Set("error_description", text)
	if c.Decided || d.known(r, c) {
		d.send(w, r, c, answer, true)
		return
	}
	d.Render(w, r, http.StatusBadRequest, pages.ButtonPage{
		Destination: Destination(c.Request, c.Client, c.Gateway), Title: "The app cannot be connected",
		Text: e.Description, Code: string(e.Code), URL: d.location(c, answer),
	})
}

func (d *Desk) send(w http.ResponseWriter, r *http.Request, c Case, answer url.Values, refused bool) {
	uri := d.location(c, answer)
	if !TargetOf(c.Request.RedirectURI).App {
		pages.Redirect(w, uri)
		return
	}
	d.Render(w, r, http.StatusOK, pages.OpenPage{
		Destination: Destination(c.Request, c.Client, c.Gateway), Refused: refused, URL: uri,
	})
}

// location is the redirect URI with an answer, `state` if one was sent, and `iss` (AS-6).
func (d *Desk) location(c Case, answer url.Values) string {
	answer.Set("iss", d.cfg.Issuer)
	if c.Request.State != "" {
		answer.Set("state", c.Request.State)
	}
	return location(c.Request.RedirectURI, answer)
}

// known reports whether an administrator or the person who is logged in has dealt with the client and this redirect host.
func (d *Desk) known(r *http.Request, c Case) bool {
	if c.Client.Origin == clients.Registered || c.Client.Trusted {
		return true
	}
	login, err := d.cfg.Logins.Current(r)
	if err != nil || login == nil {
		return false // who cannot be asked has not agreed
	}
	host := TargetOf(c.Request.RedirectURI).Host
	return d.consented(r.Context(), login.User, func(one store.Consent) bool {
		return one.Client == c.Client.ID && one.RedirectHost == host
	})
}
