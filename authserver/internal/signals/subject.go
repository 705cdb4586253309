// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"github.com/penstockhq/penstock/authserver/internal/directory"
)

const maxSubject = 255

// subject is a subject identifier (RFC 9493), or the complex one of SSF 1.0 §3.2: its user, its session, or both.
type subject struct {
	Format  string   `json:"format"`
	Issuer  string   `json:"iss"`
	Subject string   `json:"sub"`
	Email   string   `json:"email"`
	ID      string   `json:"id"`
	User    *subject `json:"user"`
	Session *subject `json:"session"`
}

// about is whom an event is about: a user (uid), or, without one, a session (sid) at the provider.
type about struct{ user, session string }

// whom returns whom a subject names: of accounts those at the provider itself, of addresses those that it is trusted with. Nobody is
// the zero value: a provider may tell of people whom Penstock does not know.
func (s *subject) whom(view *directory.View, idp *directory.Provider) about {
	if s == nil {
		return about{}
	}
	if s.User != nil || s.Session != nil { // complex, whether or not its format says so
		if found := s.User.whom(view, idp); found.user != "" {
			return about{user: found.user}
		}
		if s.User == nil && s.Session.Format == "opaque" && s.Session.ID != "" && len(s.Session.ID) <= maxSubject && isText(s.Session.ID) {
			return about{session: s.Session.ID}
		}
		return about{}
	}
	var u *directory.User
	switch {
	case s.Format == "iss_sub" && s.Issuer == idp.Issuer && s.Subject != "":
		u = view.UserByIdentity(s.Issuer, s.Subject)
	case s.Format == "email" && idp.OwnsEmail(s.Email):
		u = view.UserByName(s.Email)
	}
	if u == nil {
		return about{}
	}
	return about{user: u.UID}
}
