// SPDX-License-Identifier: Apache-2.0

package login

import (
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// BackchannelPath is where an identity provider says that somebody has logged out there (OpenID Connect Back-Channel Logout 1.0
// §2.5), below the issuer's path: POST.
const BackchannelPath = "/login/backchannel/{provider}"

// Backchannel serves [BackchannelPath]: a form with logout_token, from the provider itself (SF-2). It ends the logins with that
// provider of the user whose subject the token names, and the grants that rest on them. All of them, also where the token
// names one session: it is the safe side. A token that names a session alone ends exactly the logins that came from it. The answer is 200, also for somebody unknown and for a token that came before, which
// ends nothing again; 400 with invalid_request for what is no good logout token; 503 while the provider's
// metadata or the directory cannot be had.
func (l *Login) Backchannel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := l.backchannel(r); err != nil {
		f := fault.From(err)
		switch f.Kind {
		case fault.Denied:
			l.record(r.Context(), refusal{reason: f.Reason, provider: l.nameOf(r.PathValue("provider"))})
			l.note(r.Context(), l.nameOf(r.PathValue("provider")), err)
			err = oauthfault.New(oauthfault.InvalidRequest, "The logout token cannot be accepted.").For(f.Reason)
		case fault.Unavailable, fault.Timeout:
			l.note(r.Context(), l.nameOf(r.PathValue("provider")), err)
		default:
		}
		oauthfault.Write(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (l *Login) backchannel(r *http.Request) error {
	view, err := l.view()
	if err != nil {
		return err
	}
	idp := view.Provider(r.PathValue("provider"))
	if idp == nil {
		return oauthfault.New(oauthfault.InvalidRequest, "There is no such identity provider.")
	}
	if err := r.ParseForm(); err != nil || len(r.PostForm["logout_token"]) != 1 {
		return oauthfault.New(oauthfault.InvalidRequest, "The form has no logout_token, or several.")
	}
	out, err := l.party.ReadLogout(r.Context(), idp, r.PostForm.Get("logout_token"))
	if err != nil {
		return err
	}
	if out.Subject == "" {
		return l.c.LogOutSession(r.Context(), idp.Name, out.Session, out.JTI, out.End.UTC().Truncate(time.Microsecond))
	}
	user := view.UserByIdentity(idp.Issuer, out.Subject)
	if user == nil {
		return nil // nobody who could be logged in
	}
	return l.c.LogOut(r.Context(), user.UID, idp.Name, out.JTI, out.End.UTC().Truncate(time.Microsecond))
}
