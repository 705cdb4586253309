// SPDX-License-Identifier: Apache-2.0

package idjag

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

const (
	skew       = time.Minute // what clocks may differ (JAG-7)
	maxText    = 512         // bytes of `jti`, `sid` and `aud_sub`
	maxSubject = 255         // OpenID Connect Core 1.0 §2
	lastDate   = 253402300799
)

// claims is what an assertion says, each claim of its type.
type claims struct {
	issuer, subject, client, id string
	audience                    []string
	expires, issued             time.Time
	notBefore, authTime         time.Time // zero: not said
	resource                    []string
	hasResource                 bool
	scope                       string
	hasScope                    bool
	tenant, audienceSubject     string
	session                     string
	methods                     []string // `amr`
	bound, detailed, acted      bool     // there is `cnf`, `authorization_details`, `act`
}

// readClaims reads what is required and what is known beside it. A claim of another type refuses the assertion, also one that
// nothing goes by: what its issuer meant is not clear.
func readClaims(payload []byte) (claims, error) {
	members, err := object(payload)
	if err != nil {
		return claims{}, refuse("assertion_malformed").Because(err)
	}
	r := &reader{members: members}
	c := claims{
		issuer: r.required("iss"), subject: r.required("sub"), client: r.required("client_id"), id: r.required("jti"), audience: r.list("aud"),
		expires: r.date("exp"), issued: r.date("iat"), notBefore: r.date("nbf"), authTime: r.date("auth_time"),
		resource: r.list("resource"), hasResource: r.has("resource"), scope: r.text("scope"), hasScope: r.has("scope"),
		tenant: r.text("tenant"), audienceSubject: r.text("aud_sub"), session: r.text("sid"),
		bound: r.has("cnf"), detailed: r.has("authorization_details"), acted: r.has("act"),
	}
	for _, name := range []string{"acr", "email", "aud_tenant"} { // of no use here, but of a type
		_ = r.text(name)
	}
	if r.has("amr") {
		r.into("amr", &c.methods)
	}
	switch {
	case r.err != nil:
		return claims{}, refuse("claim_malformed").Because(r.err)
	case c.expires.IsZero() || c.issued.IsZero():
		return claims{}, refuse("claim_missing")
	case len(c.subject) > maxSubject || len(c.id) > maxText || len(c.session) > maxText || len(c.audienceSubject) > maxText:
		return claims{}, refuse("claim_malformed")
	}
	return c, nil
}

// check checks the claims that stand for themselves.
func (c claims) check(idp *directory.Provider, issuer, client string, now time.Time) error {
	trust := idp.IDJAG
	switch {
	case c.issuer != idp.Issuer:
		return refuse("issuer_not_trusted")
	case len(c.audience) != 1 || c.audience[0] != issuer: // JAG-4
		return refuse("audience_differs")
	case c.client != client: // JAG-5
		return refuse("assertion_of_another_client")
	case !now.Before(c.expires.Add(skew)): // JAG-7
		return refuse("assertion_expired")
	case c.issued.After(now.Add(skew)), c.notBefore.After(now.Add(skew)):
		return refuse("assertion_of_the_future")
	case !c.expires.After(c.issued), c.expires.Sub(c.issued) > trust.MaxLifetime:
		return refuse("assertion_lifetime")
	case c.bound: // JAG-16: there is no DPoP to prove it with
		return refuse("assertion_bound")
	case c.detailed: // JAG-18
		return refuse("authorization_details")
	case c.acted && !trust.AcceptAct:
		return refuse("act")
	case c.tenant != trust.Tenant: // JAG-13
		return refuse("tenant_differs")
	}
	return nil
}

// reader reads members of a JSON object, and keeps the first error.
type reader struct {
	members map[string]json.RawMessage
	err     error
}

func (r *reader) has(name string) bool {
	_, there := r.members[name]
	return there
}

// into reads a member that is there. null is no value of any type.
func (r *reader) into(name string, value any) {
	raw := r.members[name]
	err := json.Unmarshal(raw, value)
	if err == nil && string(raw) == "null" {
		err = errors.New("it is null")
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("read %s: it is of another type", name) // the error of the library would quote it
	}
}

// text returns a member that is a text, empty if it is missing.
func (r *reader) text(name string) (s string) {
	if r.has(name) {
		r.into(name, &s)
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == utf8.RuneError }) && r.err == nil {
		r.err = fmt.Errorf("read %s: it has control characters", name)
	}
	return s
}

// required is text of a member that must be there, and not empty.
func (r *reader) required(name string) string {
	s := r.text(name)
	if s == "" && r.err == nil {
		r.err = fmt.Errorf("read %s: it is missing", name)
	}
	return s
}

// list returns a member that is a text or a list of texts, nil if it is missing. A list of none is malformed.
func (r *reader) list(name string) (all []string) {
	raw, there := r.members[name]
	if !there {
		return nil
	}
	if strings.HasPrefix(string(raw), `"`) {
		return []string{r.required(name)}
	}
	r.into(name, &all)
	if len(all) == 0 && r.err == nil {
		r.err = fmt.Errorf("read %s: it is an empty list", name)
	}
	return all
}

// date returns a NumericDate (RFC 7519 §2), zero if it is missing.
func (r *reader) date(name string) time.Time {
	if !r.has(name) {
		return time.Time{}
	}
	var n float64
	r.into(name, &n)
	if (n < 1 || n > lastDate) && r.err == nil {
		r.err = fmt.Errorf("read %s: it is no date", name)
	}
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}
