// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of refused logins, besides those of federation and of the control plane. Audit events have them in lower case.
const (
	ReasonNoDirectory = "DIRECTORY_UNAVAILABLE"
	ReasonCSRF        = "FORM_FOREIGN"       // the form was not shown to this browser
	ReasonPassword    = "PASSWORD_WRONG"     // or there is no such user, or no password
	ReasonTooMany     = "TOO_MANY_ATTEMPTS"  // the attempt came before its time (RL-3)
	ReasonState       = "STATE_UNKNOWN"      // used before, over, or never made
	ReasonBrowser     = "STATE_FOREIGN"      // of another browser
	ReasonProvider    = "PROVIDER_UNKNOWN"   // not there, disabled, or not the one the login began with
	ReasonFresh       = "LOGIN_NOT_FRESH"    // the provider did not ask again though it was to
	ReasonSecret      = "PROVIDER_SECRET"    // the client secret cannot be opened
	ReasonUnsettled   = "USER_NOT_THERE_YET" // the directory does not have the new user so far
)

const (
	actionOK       = "login.ok"
	actionFailed   = "login.failed"
	actionMismatch = "login.issuer_mismatch"
	actionEnded    = "login.ended"

	resultOK      = "ok"
	resultRefused = "refused"
	actorUser     = "user"

	attrProvider = "provider"
)

// refusal is a login that was refused.
type refusal struct {
	reason   string
	user     string // uid, if it is known
	provider string // name; empty for a password
}

// record stores the audit event of a refused login; the answer does not depend on it.
func (l *Login) record(ctx context.Context, f refusal) {
	action := actionFailed
	if f.reason == federation.ReasonIssuer {
		action = actionMismatch
	}
	e := reqctx.Event(ctx, action, resultRefused)
	e.Reason, e.Target = strings.ToLower(f.reason), f.provider
	if f.user != "" {
		e.ActorType, e.Actor = actorUser, f.user
	}
	err := l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		l.c.Log.ErrorContext(ctx, "refused login not recorded", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID), obs.Fault(err))
	}
}

// foreign answers a form that this browser was not shown (AZ-15).
func (l *Login) foreign(w http.ResponseWriter, r *http.Request, request string) {
	l.record(r.Context(), refusal{reason: ReasonCSRF})
	again := l.base + PagePath
	if request != "" && len(request) <= maxRequest {
		again += "?" + query("request", request)
	}
	l.refuse(w, r, http.StatusForbidden, pages.ErrorPage{
		Title: "The form is not from this browser",
		Text:  "It was shown too long ago, the browser keeps no cookies, or it came from elsewhere. Open the page again.",
		Links: []pages.Link{{Text: "Open the page again", URL: again}},
	})
}

// over answers for an authorization request that nobody waits for any more.
func (l *Login) over(w http.ResponseWriter, r *http.Request) {
	l.refuse(w, r, http.StatusBadRequest, pages.ErrorPage{
		Title: "The request is over", Text: "It was answered before, or took longer than ten minutes. Go back to the app and connect again.",
	})
}

// failed answers for an error that is nobody's refusal, and logs it.
func (l *Login) failed(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	status, p := http.StatusInternalServerError, pages.ErrorPage{
		Title: "An internal error occurred",
		Text:  "Try again, and tell your administrator the request number if it happens again.",
	}
	switch f.Kind {
	case fault.Canceled:
		return // nobody is left to tell
	case fault.Unavailable, fault.Timeout:
		status, p = http.StatusServiceUnavailable, pages.ErrorPage{
			Title: "Logging in is not possible at the moment", Text: "Something that is needed for it cannot be reached. Try again soon.",
		}
		l.c.Log.WarnContext(r.Context(), "login not possible", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID), obs.Fault(err))
	default:
		l.c.Log.ErrorContext(r.Context(), "login broke", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID), obs.Fault(err))
	}
	retryAfter(w, f.Retry)
	l.refuse(w, r, status, p)
}

func (l *Login) refuse(w http.ResponseWriter, r *http.Request, status int, p pages.ErrorPage) {
	pages.Render(w, r, pages.Page{Status: status, Base: l.base, Body: p})
}

func retryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
	}
}

// note logs why a login was refused, once.
func (l *Login) note(ctx context.Context, provider string, err error) {
	l.c.Log.InfoContext(ctx, "login refused", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID),
		slog.String(attrProvider, provider), wordless(err))
}

// wordless is [obs.Fault] without the sentences of the control plane, which may name the person.
func wordless(err error) slog.Attr {
	switch f := fault.From(err); f.Reason {
	case directory.ReasonLoginNotAllowed, directory.ReasonDeactivated, fault.ReasonInternal:
		return slog.Group("", slog.String(obs.AttrFaultKind, f.Kind.String()), slog.String(obs.AttrFaultReason, f.Reason))
	default:
		return obs.Fault(err)
	}
}

func isOver(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Invalid || k == fault.NotFound
}
