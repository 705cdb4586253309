// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/unproven"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/keyset"
)

const (
	maxToken = 64 << 10 // bytes of a security event token
	maxJTI   = 256
	// maxEvents of one token: RFC 8417 allows several that are about one thing.
	maxEvents = 10

	// skew is how far ahead the clock of a provider may be.
	skew = time.Minute
	// oldest is how long ago a token may have been made: a provider that could not deliver it tries again for days. Its identifier is
	// remembered for longer.
	oldest = 7 * 24 * time.Hour

	// keysFor is how long a key set is used without being read anew. One that cannot be read has the provider send again.
	keysFor = 15 * time.Minute
)

// code is an error code (RFC 8935 §2.4, RFC 8936 §2.4.1).
type code string

// The codes.
const (
	invalidRequest  code = "invalid_request"
	invalidKey      code = "invalid_key"
	invalidIssuer   code = "invalid_issuer"
	invalidAudience code = "invalid_audience"
)

// refusal is why a token is none. The description goes to the provider.
type refusal struct {
	code        code
	reason      string // in the audit, lower snake case
	description string
}

// Error implements error.
func (r *refusal) Error() string { return string(r.code) + ": " + r.description }

func refuse(c code, reason, description string) error { return &refusal{c, reason, description} }

// algorithms are those a token may be signed with: asymmetric ones.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// token is a verified security event token.
type token struct {
	jti     string
	subject *subject // nil: it names none
	events  []event  // sorted by type
	end     time.Time
}

// event is one of a token.
type event struct {
	kind    string   // its URI
	subject *subject // of the event itself, as transmitters of before SSF 1.0 have it; nil: none
	status  string   // of a stream
}

// verify checks a security event token (RFC 8417 §2, SSF 1.0 §4): typ, signature, iss, aud, jti, iat and events. The errors are
// [*refusal], and Unavailable while the keys cannot be had.
func (r *Receiver) verify(ctx context.Context, idp *directory.Provider, raw string) (*token, error) {
	if len(raw) > maxToken {
		return nil, refuse(invalidRequest, "token_too_long", "The token is longer than 64 KiB.")
	}
	if !isEventToken(raw) {
		return nil, refuse(invalidRequest, "wrong_type", "The token is no JWT of typ secevent+jwt.")
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		return nil, refuse(invalidRequest, "not_signed", "The token is not signed with an asymmetric algorithm, or its form is wrong.")
	}
	payload, err := r.signed(ctx, idp, signed)
	if err != nil {
		return nil, err
	}
	var c struct {
		Issuer   string                     `json:"iss"`
		Audience unproven.Texts             `json:"aud"`
		ID       string                     `json:"jti"`
		Issued   *float64                   `json:"iat"`
		Expires  *float64                   `json:"exp"`
		Subject  *subject                   `json:"sub_id"`
		Events   map[string]json.RawMessage `json:"events"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return nil, refuse(invalidRequest, "claims_unreadable", "The claims cannot be read.")
	}
	want := idp.Signals.Audience
	if want == "" {
		want = r.c.Issuer
	}
	switch {
	case c.Issuer != idp.Signals.Issuer:
		return nil, refuse(invalidIssuer, "another_issuer", "iss is another issuer than the one that is expected here.")
	case !slices.Contains(c.Audience, want):
		return nil, refuse(invalidAudience, "another_audience", "aud does not have the audience that is expected here.")
	case c.ID == "" || len(c.ID) > maxJTI || !isText(c.ID):
		return nil, refuse(invalidRequest, "jti_invalid", "jti is missing or too long.")
	case c.Issued == nil:
		return nil, refuse(invalidRequest, "iat_missing", "iat is missing.")
	}
	issued, now := moment(*c.Issued), r.c.Now()
	switch {
	case issued.After(now.Add(skew)) || issued.Before(now.Add(-oldest)):
		return nil, refuse(invalidRequest, "iat_out_of_bounds", "iat is in the future, or more than seven days ago.")
	case c.Expires != nil && now.After(moment(*c.Expires).Add(skew)):
		return nil, refuse(invalidRequest, "expired", "The token has expired.")
	case len(c.Events) == 0 || len(c.Events) > maxEvents:
		return nil, refuse(invalidRequest, "events_invalid", "events is missing or has too many members.")
	}
	t := &token{jti: c.ID, subject: c.Subject, end: issued.Add(oldest + 2*skew).UTC().Truncate(time.Microsecond)}
	for kind, body := range c.Events {
		var e struct {
			Subject *subject `json:"subject"`
			Status  string   `json:"status"`
		}
		if json.Unmarshal(body, &e) != nil || string(body) == "null" {
			return nil, refuse(invalidRequest, "events_invalid", "An event is no object.")
		}
		t.events = append(t.events, event{kind: kind, subject: e.Subject, status: e.Status})
	}
	slices.SortFunc(t.events, func(a, b event) int { return strings.Compare(a.kind, b.kind) })
	return t, nil
}

// signed returns the payload of a token whose signature is the provider's.
func (r *Receiver) signed(ctx context.Context, idp *directory.Provider, s *jose.JSONWebSignature) ([]byte, error) {
	header := s.Signatures[0].Protected
	set, err := r.keySet(idp)
	if err != nil {
		return nil, err
	}
	key, err := set.Key(ctx, header.KeyID, header.Algorithm)
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		return nil, refuse(invalidKey, "key_unknown", "The provider has no key of that kid and alg.")
	}
	payload, err := s.Verify(key.Public)
	if err != nil {
		return nil, refuse(invalidKey, "signature_invalid", "The signature is not the provider's.")
	}
	return payload, nil
}

// keys is a key set and when it was begun.
type keys struct {
	set   *keyset.Set
	begun time.Time
}

// keySet returns the keys of a provider's events, read anew every quarter of an hour, so that one that was taken away ends (JW-10).
func (r *Receiver) keySet(idp *directory.Provider) (*keyset.Set, error) {
	source := keyset.Source{Issuer: idp.Signals.Issuer, URL: idp.Signals.JWKSURI}
	name := source.Issuer + "\n" + source.URL
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.c.Now()
	if k := r.keys[name]; k != nil && now.Sub(k.begun) < keysFor {
		return k.set, nil
	}
	set, err := keyset.New(keyset.Config{Source: source, Egress: r.c.Egress, Now: r.c.Now})
	if err != nil {
		return nil, fault.New(fault.Unavailable, keyset.ReasonNotLoaded, "The keys of the identity provider cannot be read.").Because(err)
	}
	for other, k := range r.keys { // of sources that are configured no more, too
		if now.Sub(k.begun) >= keysFor {
			delete(r.keys, other)
		}
	}
	r.keys[name] = &keys{set, now}
	return set, nil
}

// isEventToken reports whether the header of a token says that it is a security event token (RFC 8417 §2.3).
func isEventToken(raw string) bool {
	typ, ok := unproven.Type(raw)
	return ok && typ == "secevent+jwt"
}

// moment reads a NumericDate. Numbers that no clock shows become the year 1970 or the far future, which are refused.
func moment(seconds float64) time.Time {
	return time.Unix(int64(max(0, min(seconds, 1<<40))), 0)
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
