// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"net/http"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxLogged is how much of an identifier that nobody has checked goes into an event, in bytes.
const maxLogged = 512

// Page answers with a page about an error, for people: nothing is sent to any client (AZ-1).
func (d *Desk) Page(w http.ResponseWriter, r *http.Request, status int, title, text string, code oauthfault.Code) {
	d.Render(w, r, status, pages.ErrorPage{Title: title, Text: text, Code: string(code)})
}

// PageRefused is [Desk.Page] with an audit event. clientID may be anything.
func (d *Desk) PageRefused(w http.ResponseWriter, r *http.Request, clientID, reason string, p pages.ErrorPage, status int) {
	event := reqctx.Event(r.Context(), "authorize.refused", "refused")
	event.Client, event.Reason = plain(clientID), reason
	d.Record(r.Context(), event)
	d.Render(w, r, status, p)
}

// ClientPage answers for a client that cannot be found or used (REG-15, CIMD, CIMD-13).
func (d *Desk) ClientPage(w http.ResponseWriter, r *http.Request, clientID string, err error) {
	f := fault.From(err)
	invalid := string(oauthfault.InvalidClient)
	switch f.Reason {
	case clients.ReasonUnknown:
		d.PageRefused(w, r, clientID, f.Reason, pages.ErrorPage{
			Title: "This app is not registered here",
			Text: "The app uses an old or unknown registration: client not registered – remove and re-add the server. " +
				"Remove this server in the app and add it again; the app then registers anew.",
			Code: invalid,
		}, http.StatusBadRequest)
	case clients.ReasonRefused:
		d.PageRefused(w, r, clientID, f.Reason, pages.ErrorPage{
			Title: "This app is not allowed here",
			Text:  "Your organisation does not let this app connect. Ask an administrator to allow it.",
			Code:  invalid,
		}, http.StatusForbidden)
	case clients.ReasonDocument:
		d.PageRefused(w, r, clientID, f.Reason, pages.ErrorPage{
			Title: "The app could not be checked",
			Text:  "The app is described by a document at its address, and that document cannot be used. " + f.Public + " Tell the maker of the app.",
			Code:  invalid,
		}, http.StatusBadRequest)
	case clients.ReasonFetchBudget:
		wait := max(f.Retry, time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		d.PageRefused(w, r, clientID, f.Reason, pages.ErrorPage{
			Title: "Too many attempts",
			Text:  "The document that describes this app was asked for too often. Wait a minute, then try again in the app.",
		}, http.StatusTooManyRequests)
	default:
		d.FaultPage(w, r, err)
	}
}

// FaultPage answers for an error that is nobody's fault who reads it: 503, or 500. The error is logged.
func (d *Desk) FaultPage(w http.ResponseWriter, r *http.Request, err error) {
	if k := fault.KindOf(err); k == fault.Invalid && fault.From(err).Reason == ReasonOver {
		d.Page(w, r, http.StatusBadRequest, "This request is over",
			"It was already answered, took longer than 10 minutes, or began in another browser. Go back to the app and start again.", "")
		return
	}
	d.Log(r.Context(), err)
	switch e := oauthfault.From(err); e.Code {
	case oauthfault.TemporarilyUnavailable:
		d.Unavailable(w, r)
	default:
		d.Page(w, r, http.StatusInternalServerError, "Something went wrong here",
			"The request could not be served. Try again; if it happens again, give the request number below to an administrator.",
			oauthfault.ServerError)
	}
}

// Unavailable answers that nothing can be done at the moment.
func (d *Desk) Unavailable(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	d.Page(w, r, http.StatusServiceUnavailable, "Not available at the moment",
		"The authorization server cannot do this right now. Wait a few seconds, then try again in the app.", oauthfault.TemporarilyUnavailable)
}

// plain returns what is printable ASCII of a text, cut.
func plain(text string) string {
	out := make([]byte, 0, min(len(text), maxLogged))
	for i := 0; i < len(text) && len(out) < maxLogged; i++ {
		if c := text[i]; c > ' ' && c < 0x7f {
			out = append(out, c)
		}
	}
	return string(out)
}
