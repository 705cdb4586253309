// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/unproven"
)

const (
	// logoutEvent is the member of events that makes a token a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

	maxLogoutToken = 16 << 10 // bytes
	maxJTI         = 256
)

// Logout is what a logout token says.
type Logout struct {
	Subject string // empty: the token names a session alone
	Session string // sid; empty: none
	JTI     string
	// End is when the token cannot be accepted any more: until then its JTI must be remembered.
	End time.Time
}

// ReadLogout checks a logout token as OpenID Connect Back-Channel Logout 1.0 §2.6 has it: the provider's signature, typ (none, JWT or
// logout+jwt), iss, aud, iat of the last ten minutes, exp where there is one (older providers send none), jti, events, and that
// there is no nonce: an ID token is none. It names the subject, a session, or both (§2.4). The faults are Denied with reasons of this package, and Unavailable PROVIDER_UNREACHABLE.
func (p *Party) ReadLogout(ctx context.Context, idp *directory.Provider, raw string) (Logout, error) {
	if len(raw) > maxLogoutToken {
		return Logout{}, refuse(ReasonLogoutToken, errors.New("it is too long"))
	}
	if !isLogoutType(raw) {
		return Logout{}, refuse(ReasonLogoutToken, errors.New("typ is that of another token"))
	}
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil {
		return Logout{}, err
	}
	token, err := found.provider.Verifier(&oidc.Config{
		ClientID: idp.ClientID, SupportedSigningAlgs: algorithms(), Now: p.now, SkipExpiryCheck: true,
	}).Verify(ctx, raw)
	if err != nil {
		// go-oidc does not tell keys that cannot be had from a signature that is wrong.
		return Logout{}, refuse(ReasonLogoutToken, err)
	}
	if token.Issuer != idp.Issuer { // go-oidc lets a second spelling of one provider pass
		return Logout{}, refuse(ReasonLogoutToken, errors.New("iss is another issuer"))
	}
	now := p.now()
	if token.IssuedAt.IsZero() || token.IssuedAt.After(now.Add(skew)) || token.IssuedAt.Before(now.Add(-oldest)) {
		return Logout{}, refuse(ReasonTime, nil)
	}
	var c struct {
		JTI     string                     `json:"jti"`
		Session string                     `json:"sid"`
		Expiry  json.RawMessage            `json:"exp"`
		Nonce   json.RawMessage            `json:"nonce"`
		Events  map[string]json.RawMessage `json:"events"`
	}
	if err := token.Claims(&c); err != nil {
		return Logout{}, refuse(ReasonLogoutToken, errors.New("the claims cannot be read"))
	}
	switch event := bytes.TrimSpace(c.Events[logoutEvent]); {
	case c.Expiry != nil && now.After(token.Expiry.Add(skew)):
		return Logout{}, refuse(ReasonTime, nil)
	case c.Nonce != nil:
		return Logout{}, refuse(ReasonLogoutToken, errors.New("it has a nonce"))
	case c.JTI == "" || len(c.JTI) > maxJTI:
		return Logout{}, refuse(ReasonLogoutToken, errors.New("jti is missing or too long"))
	case !bytes.HasPrefix(event, []byte("{")):
		return Logout{}, refuse(ReasonLogoutToken, errors.New("the event is missing"))
	}
	if token.Subject == "" && c.Session == "" || !isIdentifier(token.Subject) || !isIdentifier(c.Session) {
		return Logout{}, refuse(ReasonSubject, nil)
	}
	return Logout{Subject: token.Subject, Session: c.Session, JTI: c.JTI, End: token.IssuedAt.Add(oldest + 2*skew)}, nil
}

// isIdentifier reports whether a text can be a subject or a session, or is empty.
func isIdentifier(s string) bool {
	return len(s) <= maxSubject && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// isLogoutType reports whether the header of a token leaves it a logout token.
func isLogoutType(raw string) bool {
	typ, ok := unproven.Type(raw)
	return ok && slices.Contains([]string{"", "jwt", "logout+jwt"}, typ)
}
