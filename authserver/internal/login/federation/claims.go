// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

const (
	maxSubject = 255 // OpenID Connect Core 1.0 §2
	maxEmail   = 254
	maxName    = 128   // characters
	maxGroups  = 10000 // of penstock.directory.v1
	maxAMR     = 10
	maxMethod  = 32

	// skew is how far the clocks of a provider and of this server may be apart, oldest how long ago a token may have been
	// made: it comes straight from the token endpoint.
	skew   = time.Minute
	oldest = 10 * time.Minute
)

// algorithms are those an ID token may be signed with: asymmetric ones. "none" and HMAC are no signatures of the provider.
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
	}
}

// verify checks the ID token of a login as OpenID Connect Core 1.0 §3.1.3.7 has it, more strictly where it leaves a choice.
func (p *Party) verify(
	ctx context.Context, idp *directory.Provider, found *discovered, raw, accessToken, nonce string,
) (claims, error) {
	c, err := p.check(ctx, idp, found, raw, accessToken, func(got string) bool { return isNonce(got, nonce) })
	if err != nil {
		return claims{}, err
	}
	return c, c.require(idp.RequiredClaims)
}

// verifyAnew checks the ID token of a refresh response as OpenID Connect Core 1.0 §12.2 has it: that of the same account, with the
// nonce of the login or none.
func (p *Party) verifyAnew(
	ctx context.Context, idp *directory.Provider, found *discovered, raw, accessToken string, r Refresh,
) (claims, error) {
	c, err := p.check(ctx, idp, found, raw, accessToken, func(got string) bool { return got == "" || isNonce(got, r.Nonce) })
	switch {
	case err != nil:
		return claims{}, err
	case c.known.Subject != r.Subject:
		return claims{}, refuse(ReasonSubject, errors.New("sub is another account than at the login"))
	}
	return c, c.require(idp.RequiredClaims)
}

func isNonce(got, want string) bool {
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// check checks an ID token that came from the token endpoint together with an access token.
func (p *Party) check(
	ctx context.Context, idp *directory.Provider, found *discovered, raw, accessToken string, nonce func(got string) bool,
) (claims, error) {
	token, err := found.provider.Verifier(&oidc.Config{
		ClientID: idp.ClientID, SupportedSigningAlgs: algorithms(), Now: p.now,
	}).Verify(ctx, raw)
	if err != nil {
		return claims{}, refuse(ReasonToken, err)
	}
	if token.Issuer != idp.Issuer { // go-oidc lets a second spelling of one provider pass
		return claims{}, refuse(ReasonToken, errors.New("iss is another issuer"))
	}
	if !nonce(token.Nonce) {
		return claims{}, refuse(ReasonNonce, nil)
	}
	if now := p.now(); token.IssuedAt.IsZero() || token.IssuedAt.After(now.Add(skew)) || token.IssuedAt.Before(now.Add(-oldest)) {
		return claims{}, refuse(ReasonTime, nil)
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return claims{}, refuse(ReasonAccessToken, err)
		}
	}
	if s := token.Subject; s == "" || len(s) > maxSubject || !utf8.ValidString(s) {
		return claims{}, refuse(ReasonSubject, nil)
	}
	c := claims{expires: token.Expiry.UTC()}
	if err := errors.Join(token.Claims(&c.known), token.Claims(&c.all)); err != nil {
		return claims{}, refuse(ReasonToken, errors.New("the claims cannot be read"))
	}
	if azp := c.known.AuthorizedParty; azp != idp.ClientID && (azp != "" || len(token.Audience) > 1) {
		return claims{}, refuse(ReasonParty, nil)
	}
	return c, nil
}

// require returns an error unless all claims are there with their values.
func (c *claims) require(all map[string]string) error {
	for name, want := range all {
		if got, ok := c.text(name); !ok || got != want {
			return refuse(ReasonRequired, fmt.Errorf("claim %q", name))
		}
	}
	return nil
}

// claims are those of an ID token or of UserInfo.
type claims struct {
	known struct {
		Subject         string                     `json:"sub"`
		AuthorizedParty string                     `json:"azp"`
		Email           string                     `json:"email"`
		EmailVerified   any                        `json:"email_verified"`
		Name            string                     `json:"name"`
		AMR             json.RawMessage            `json:"amr"`
		AuthTime        json.RawMessage            `json:"auth_time"`
		Elsewhere       map[string]json.RawMessage `json:"_claim_names"`
		HasGroups       any                        `json:"hasgroups"`
		Session         any                        `json:"sid"`
	}
	all     map[string]json.RawMessage
	expires time.Time // exp of an ID token
}

func (c *claims) account(groupsClaim string) Account {
	a := Account{Subject: c.known.Subject, DisplayName: c.name(), AMR: c.methods()}
	a.Email, a.EmailVerified = c.email()
	a.Groups, a.GroupsKnown = c.groups(groupsClaim)
	if sid, ok := c.known.Session.(string); ok && isIdentifier(sid) {
		a.Session = sid
	}
	var seconds float64 // a number, RFC 7519 NumericDate
	if json.Unmarshal(c.known.AuthTime, &seconds) == nil && seconds > 0 && seconds < 1<<40 {
		a.AuthTime = time.Unix(int64(seconds), 0).UTC()
	}
	return a
}

// email returns the address if it has the form of one. Some providers say "true" in quotes.
func (c *claims) email() (address string, verified bool) {
	e := strings.TrimSpace(c.known.Email)
	if at := strings.LastIndexByte(e, '@'); at < 1 || at == len(e)-1 || len(e) > maxEmail || !utf8.ValidString(e) ||
		strings.ContainsFunc(e, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", false
	}
	return e, c.known.EmailVerified == true || c.known.EmailVerified == "true"
}

func (c *claims) name() string {
	kept := strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, c.known.Name))
	if runes := []rune(kept); len(runes) > maxName {
		return string(runes[:maxName])
	}
	return kept
}

// groups returns the groups of the claim. Without the claim there are none: who left the last group has no list. They are not
// known if the provider refers to another place for them, as Entra does when they are many, or if the list is no such list.
func (c *claims) groups(claim string) (list []string, known bool) {
	if c.areElsewhere(claim) {
		return nil, false
	}
	raw, there := c.all[claim]
	if !there || string(raw) == "null" {
		return nil, true
	}
	if json.Unmarshal(raw, &list) != nil {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			return nil, false
		}
		list = []string{one}
	}
	if len(list) > maxGroups {
		return nil, false
	}
	return list, true
}

// isSilent reports whether nothing is said about groups, not even where they are.
func (c *claims) isSilent(claim string) bool {
	_, there := c.all[claim]
	return !there && !c.areElsewhere(claim)
}

// areElsewhere reports whether the provider keeps groups out of the token: the distributed claims of OpenID Connect Core 1.0
// §5.6.2, and hasgroups, which Entra sets where a token must be short. Without a name for the claim nothing is known.
func (c *claims) areElsewhere(claim string) bool {
	_, elsewhere := c.known.Elsewhere[claim]
	return claim == "" || elsewhere || c.known.HasGroups == true || c.known.HasGroups == "true"
}

// methods returns amr (RFC 8176) if it is a short list of short words.
func (c *claims) methods() []string {
	var list []string
	if json.Unmarshal(c.known.AMR, &list) != nil || len(list) > maxAMR {
		return nil
	}
	if slices.ContainsFunc(list, func(m string) bool {
		return m == "" || len(m) > maxMethod || strings.ContainsFunc(m, func(r rune) bool { return r <= ' ' || r > '~' })
	}) {
		return nil
	}
	return list
}

// text returns a claim that is a string, a truth value or a number as text.
func (c *claims) text(name string) (string, bool) {
	raw := c.all[name]
	var s string
	if json.Unmarshal(raw, &s) == nil && string(raw) != "null" {
		return s, true
	}
	var other any
	if json.Unmarshal(raw, &other) != nil {
		return "", false
	}
	switch other.(type) {
	case bool, float64:
		return string(raw), true
	default:
		return "", false
	}
}
