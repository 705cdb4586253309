// SPDX-License-Identifier: Apache-2.0

package idptoken

import (
	"slices"
	"strings"
	"time"
)

// Rules are what a token is checked against.
type Rules struct {
	Algorithms         []string // that it may be signed with
	Audiences          []string // of which "aud" must have one
	Client             string   // client_id of Penstock at the provider: tokens for it are ID tokens
	SubjectClaim       string
	ScopeClaims        []string // the first that is there counts
	RequiredClaims     []map[string]string
	AcceptIDTokens     bool
	RequireATJWT       bool
	AcceptMissingScope bool
	MissingScope       string        // what a token without scopes gets then
	MaxAge             time.Duration // since iat
}

// Holder is who a token is about, and what it may do.
type Holder struct {
	Subject  string
	ClientID string // that asked for the token, empty if it does not say
	TokenID  string // jti, empty if it does not say
	Scopes   []string
	Issued   time.Time
	Expires  time.Time // exp, or when the token is too old, whichever comes first

	notBefore time.Time
}

// Current reports whether the token counts at a time by a clock that may differ by skew: expired is true if it did once (JW-5).
func (h *Holder) Current(now time.Time, skew time.Duration) (ok, expired bool) {
	if h.Issued.After(now.Add(skew)) || h.notBefore.After(now.Add(skew)) || !h.Expires.After(h.Issued) {
		return false, false
	}
	expired = !now.Before(h.Expires.Add(skew))
	return !expired, expired
}

// Kind reports whether the token is of the kind that may count: signed with one of the algorithms, and by its typ no token for
// another purpose (JW-3, JW-4, RFC 8725 §3.11). It is to be asked before a key is looked for.
func (t *Token) Kind(r Rules) bool {
	if !slices.Contains(r.Algorithms, t.Algorithm) {
		return false
	}
	typ := strings.ToLower(t.typ)
	switch strings.TrimPrefix(typ, "application/") {
	case "at+jwt":
		return true
	case "jwt", "":
		return !r.RequireATJWT
	default: // oauth-id-jag+jwt, dpop+jwt, secevent+jwt, logout+jwt and whatever comes
		return false
	}
}

// Check checks the claims of a token whose signature is in order, but for the time: [Holder.Current] does that. The error is
// ErrInvalid.
func (t *Token) Check(r Rules) (h Holder, err error) {
	if !t.Kind(r) || !slices.ContainsFunc(t.audience, func(a string) bool { return slices.Contains(r.Audiences, a) }) {
		return h, ErrInvalid
	}
	if !r.AcceptIDTokens && t.isIDToken(r.Client) {
		return h, ErrInvalid
	}
	if t.has("cnf") { // bound to a key that its bearer would have to prove (RFC 7800)
		return h, ErrInvalid
	}
	for _, claims := range r.RequiredClaims {
		for name, want := range claims {
			if got, ok := t.plain(name); !ok || got != want {
				return h, ErrInvalid
			}
		}
	}
	if h, err = t.holder(r); err != nil {
		return h, err
	}
	h.Issued, h.Expires, h.notBefore = t.issued, t.expires, t.notBefore
	if old := t.issued.Add(r.MaxAge); old.Before(h.Expires) {
		h.Expires = old
	}
	return h, nil
}

// isIDToken reports whether the token tells a client of a login: by the claims that only ID tokens have (OpenID Connect Core 1.0
// §2, §3.3.2.11), by what Keycloak and Cognito call it, or because it is for Penstock as a client (JW-4).
func (t *Token) isIDToken(client string) bool {
	if t.has("nonce") || t.has("at_hash") || t.has("c_hash") || t.has("s_hash") {
		return true
	}
	if kind, _ := t.text("typ"); kind != "" && !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "JWT") { // Keycloak: "ID", "Logout"
		return true
	}
	if use, ok := t.text("token_use"); ok && use != "access" { // Cognito
		return true
	}
	return client != "" && slices.Contains(t.audience, client)
}

// holder reads who the token is about.
func (t *Token) holder(r Rules) (h Holder, err error) {
	var ok bool
	if h.Subject, ok = t.text(r.SubjectClaim); !ok || h.Subject == "" || len(h.Subject) > maxSubject {
		return h, ErrInvalid
	}
	for _, claim := range []string{"client_id", "azp", "appid", "cid"} { // RFC 9068 §2.2, OpenID Connect, Entra, Okta
		if id, ok := t.text(claim); ok && id != "" {
			if len(id) > maxClient {
				return h, ErrInvalid
			}
			h.ClientID = id
			break
		}
	}
	if h.TokenID, _ = t.text("jti"); len(h.TokenID) > maxTokenID {
		return h, ErrInvalid
	}
	h.Scopes, err = t.scopes(r)
	return h, err
}

// scopes reads the first of the scope claims that is there: text with spaces (RFC 6749 §3.3), or a list of texts.
func (t *Token) scopes(r Rules) ([]string, error) {
	for _, claim := range r.ScopeClaims {
		if !t.has(claim) {
			continue
		}
		list, ok := t.list(claim)
		if !ok || len(t.raw(claim)) > maxScopes {
			return nil, ErrInvalid
		}
		return strings.Fields(strings.Join(list, " ")), nil
	}
	if r.AcceptMissingScope {
		return []string{r.MissingScope}, nil
	}
	return nil, nil
}

// plain returns a claim that is text, a number or a truth value as text.
func (t *Token) plain(claim string) (string, bool) {
	raw := t.raw(claim)
	if s, ok := t.text(claim); ok {
		return s, true
	}
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == '"' || string(raw) == "null" {
		return "", false
	}
	return string(raw), true
}
