// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	directoryTimeout = 10 * time.Second
	settlePoll       = 20 * time.Millisecond
)

// userOf returns the uid of the user of an account (AZ-24). The control plane is asked only when the user is new or when
// groups that are known decide about teams; when it cannot be reached, a known user logs in with the teams she has.
func (l *Login) userOf(ctx context.Context, view *directory.View, idp *directory.Provider, a federation.Account) (string, error) {
	known := view.UserByIdentity(idp.Issuer, a.Subject)
	if known != nil && (!a.GroupsKnown || !idp.MapsGroups) {
		return known.UID, nil
	}
	within, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	uid, revision, err := l.c.Directory.LoginUser(within, directory.Account{
		Provider: idp.Name, Subject: a.Subject, Email: a.Email, EmailVerified: a.EmailVerified, DisplayName: a.DisplayName,
		Groups: a.Groups, GroupsKnown: a.GroupsKnown,
	})
	switch {
	case err == nil:
	case known != nil && fault.KindOf(err) != fault.Denied:
		l.c.Log.WarnContext(ctx, "teams of a login not brought in line", slog.String(attrProvider, idp.Name), wordless(err))
		return known.UID, nil
	default:
		return "", err
	}
	if revision > 0 && l.c.Await != nil {
		if err := l.c.Await(within, revision); err != nil {
			l.c.Log.WarnContext(ctx, "change of a login not awaited", slog.String(attrProvider, idp.Name), obs.Fault(err))
		}
	}
	return uid, l.settled(ctx, uid)
}

// settled returns when the directory has a user who is active, or Unavailable USER_NOT_THERE_YET after a time.
func (l *Login) settled(ctx context.Context, uid string) error {
	end := time.NewTimer(l.c.Settle)
	defer end.Stop()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for {
		if view := l.c.View(); view != nil && view.User(uid) != nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-end.C:
			return fault.New(fault.Unavailable, ReasonUnsettled, "The directory does not have the user yet.").After(l.c.Settle)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rejected answers for a login at a provider that came to nothing.
func (l *Login) rejected(w http.ResponseWriter, r *http.Request, idp *directory.Provider, request string, err error) {
	f := fault.From(err)
	if f.Kind == fault.Canceled {
		return
	}
	l.record(r.Context(), refusal{reason: f.Reason, provider: idp.Name})
	l.note(r.Context(), idp.Name, err)
	again := pages.Link{Text: "Log in another way", URL: l.base + PagePath}
	if request != "" {
		again.URL += "?" + query("request", request)
	}
	status, p := http.StatusBadRequest, pages.ErrorPage{Code: f.Reason, Links: []pages.Link{again}}
	switch {
	case f.Kind == fault.Unavailable, f.Kind == fault.Timeout:
		status = http.StatusServiceUnavailable
		p.Title, p.Text = "Logging in is not possible at the moment", f.Public+" Try again soon."
	case f.Reason == directory.ReasonLoginNotAllowed, f.Reason == directory.ReasonDeactivated:
		status = http.StatusForbidden
		p.Title = "You may not log in here"
		p.Text = f.Public + " Ask the administrator of Penstock in your organisation for access."
	case f.Reason == federation.ReasonRefused:
		p.Title, p.Text = idp.Title()+" did not log you in", "You or the identity provider ended the login. Try again, or ask your administrator."
	case f.Kind == fault.Denied:
		p.Title, p.Text = "The login could not be checked", f.Public+" Try again, and tell your administrator the request number if it happens again."
	default:
		status = http.StatusInternalServerError
		p.Title, p.Text = "Logging in is not possible", "The identity provider is not set up completely. Tell your administrator the request number."
	}
	retryAfter(w, f.Retry)
	l.refuse(w, r, status, p)
}

// lost answers a browser that comes back with no login that it began.
func (l *Login) lost(w http.ResponseWriter, r *http.Request, provider string, err error) {
	f := fault.From(err)
	if f.Kind != fault.Denied {
		l.failed(w, r, err)
		return
	}
	l.record(r.Context(), refusal{reason: f.Reason, provider: l.nameOf(provider)})
	l.refuse(w, r, http.StatusBadRequest, pages.ErrorPage{
		Title: "The login is over", Code: f.Reason,
		Text: "It was finished before, took longer than ten minutes, or began in another browser. Go back to the app and connect again.",
	})
}

// unknown answers for a provider that nobody can log in with.
func (l *Login) unknown(w http.ResponseWriter, r *http.Request, provider string) {
	l.record(r.Context(), refusal{reason: ReasonProvider, provider: l.nameOf(provider)})
	l.refuse(w, r, http.StatusBadRequest, pages.ErrorPage{
		Title: "There is no such identity provider", Code: ReasonProvider,
		Text: "It may have been removed. Go back to the app and connect again.",
	})
}

// nameOf returns the name of a provider that there is: what a request says goes into no audit event.
func (l *Login) nameOf(name string) string {
	if view := l.c.View(); view != nil && view.Provider(name) != nil {
		return name
	}
	return ""
}
