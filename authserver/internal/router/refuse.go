// SPDX-License-Identifier: Apache-2.0

package router

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
)

// codeNotFound is ours: OAuth has no code for a path that there is not.
const codeNotFound oauthfault.Code = "not_found"

// refusal is an answer of the router's own, in both forms.
type refusal struct {
	title string
	fault *oauthfault.Error
}

func refusalOf(status int, code oauthfault.Code, title, text string) refusal {
	e := oauthfault.New(code, text)
	e.Status = status
	return refusal{title: title, fault: e}
}

func tooLong() refusal {
	return refusalOf(http.StatusRequestURITooLong, oauthfault.InvalidRequest, "The address is too long",
		"The query is longer than 8 KiB. Go back to the app and try again.")
}

func wrongMethod(allow []string) refusal {
	return refusalOf(http.StatusMethodNotAllowed, oauthfault.InvalidRequest, "This cannot be done here",
		"This address takes "+strings.Join(allow, ", ")+" only.")
}

func tooLarge() refusal {
	return refusalOf(http.StatusRequestEntityTooLarge, oauthfault.InvalidRequest, "The request is too large",
		"The body of the request is larger than this address takes.")
}

func tooMany(retry time.Duration) refusal {
	r := refusalOf(http.StatusTooManyRequests, oauthfault.SlowDown, "Too many requests",
		"Too many requests came from this address or client. Wait a moment and try again.")
	r.fault.Retry = max(retry, time.Second)
	return r
}

func failed() refusal {
	return refusalOf(http.StatusInternalServerError, oauthfault.ServerError, "An internal error occurred",
		"The request could not be finished. Try again, and tell your administrator the request number if it happens again.")
}

// notFound answers a path that there is not: a page for people, JSON for programs.
func (f *front) notFound(w http.ResponseWriter, r *http.Request) {
	f.look.refuse(w, r, wantsPage(r), refusalOf(http.StatusNotFound, codeNotFound, "There is no such page",
		"There is nothing at this address."))
}

// look is what pages of the router's own need to look like all others.
type look struct{ base string } // path of the issuer, see [pages.Base]

// refuse answers with a page or with JSON.
func (l look) refuse(w http.ResponseWriter, r *http.Request, page bool, f refusal) {
	if !page {
		e := *f.fault
		if e.Status >= http.StatusInternalServerError { // programs show it to people too (AU-6)
			e.Description += " Request " + reqctx.From(r.Context()).ID + "."
		}
		oauthfault.Write(w, &e)
		return
	}
	if f.fault.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.fault.Retry+time.Second-1)/time.Second)))
	}
	pages.Render(w, r, pages.Page{Status: f.fault.Status, Base: l.base, Body: pages.ErrorPage{
		Title: f.title, Text: f.fault.Description, Code: string(f.fault.Code),
	}})
}

// wantsPage reports whether a browser asks for something to show.
func wantsPage(r *http.Request) bool {
	for one := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(one); err == nil && kind == "text/html" {
			return true
		}
	}
	return false
}
