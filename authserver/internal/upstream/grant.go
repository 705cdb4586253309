// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Journey is what a person was sent away with. It holds no secret; what comes back is judged by it, and not by what anybody says
// at that time.
type Journey struct {
	Server      string `json:"server"`
	Origin      string `json:"origin"` // of the server: the only place that its tokens are for (UP-3)
	Issuer      string `json:"issuer,omitempty"`
	NamesIssuer bool   `json:"names_issuer,omitempty"`
	Token       string `json:"token_endpoint"`
	Client      client `json:"client"`
	Resource    string `json:"resource,omitempty"`
}

// grant is what the vault keeps of a person's grant.
type grant struct {
	Journey

	Access    string    `json:"access_token,omitempty"`
	Refresh   string    `json:"refresh_token,omitempty"`
	Obtained  time.Time `json:"obtained"`
	Refreshed time.Time `json:"refreshed,omitzero"`
	Expires   time.Time `json:"expires,omitzero"` // of Access; zero: the server did not say
	Dead      bool      `json:"dead,omitempty"`   // ended by its authorization server
}

// Departure is how a person is sent away.
type Departure struct {
	State    string
	Verifier string   // of PKCE: a secret of the browser's
	Scopes   []string // that the server wants besides those that it wants of everybody: asked for where nobody configured scopes
}

// Begin finds a server's authorization server and Penstock's client there, and returns where the person goes: the authorization
// endpoint, with PKCE (S256) and state. What a server wants of everybody is asked for again together with what it wants besides, so
// that a new grant is never less than the old one (MCP 2026-07-28 basic/authorization, step-up). The faults name what is to be
// mended, for an administrator.
func (u *Upstream) Begin(ctx context.Context, s *directory.Server, d Departure) (Journey, string, error) {
	f, err := u.discover(ctx, s)
	if err != nil {
		return Journey{}, "", err
	}
	c, err := u.clientFor(ctx, s, f)
	if err != nil {
		return Journey{}, "", err
	}
	j := Journey{
		Server: s.Name, Origin: oauthclient.Origin(s.URL), Issuer: f.Issuer, NamesIssuer: f.NamesIssuer, Token: f.Token, Client: c,
	}
	if !s.OAuth.NoResource {
		j.Resource = f.resource
	}
	challenge := sha256.Sum256([]byte(d.Verifier))
	v := url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {u.redirectURI(s.Name)}, "state": {d.State},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	scopes := f.wantedScopes
	for _, more := range d.Scopes {
		if len(s.OAuth.Scopes) == 0 && !slices.Contains(scopes, more) {
			scopes = append(slices.Clip(scopes), more)
		}
	}
	if len(scopes) > 0 {
		v.Set("scope", strings.Join(scopes, " "))
	}
	if j.Resource != "" {
		v.Set("resource", j.Resource) // RFC 8707 §2.1
	}
	to, err := url.Parse(f.Authorize)
	if err != nil {
		return Journey{}, "", refuse(ReasonMetadata, "The %s is no URL.", oauthclient.TheAuthorization)
	}
	q := to.Query() // an endpoint may have a query of its own (RFC 6749 §3.1)
	for name, values := range v {
		q[name] = values
	}
	to.RawQuery = q.Encode()
	return j, to.String(), nil
}

// Judge reads an authorization response: each parameter once (RFC 6749 §3.1), and from the right issuer (RFC 9207 §2.4). It
// returns the code. The caller has compared the state. The faults are Precondition UPSTREAM_ISSUER_MISMATCH and
// UPSTREAM_RESPONSE_INVALID, and Denied UPSTREAM_REFUSED.
func (j Journey) Judge(response url.Values) (code string, err error) {
	for _, name := range []string{"code", "iss", "error"} {
		if len(response[name]) > 1 {
			return "", refuse(ReasonResponse, "The answer has the parameter %s twice.", name)
		}
	}
	if iss := response.Get("iss"); iss != j.Issuer && (iss != "" || j.NamesIssuer) {
		return "", refuse(ReasonIssuer, "The answer comes from another authorization server than the one that was asked (oauth.issuer).")
	}
	if response.Has("error") {
		return "", fault.New(fault.Denied, ReasonRefused, "The authorization server refused.").Because(errors.New("error is " + oauthclient.ErrorCode(response.Get("error"))))
	}
	if code = response.Get("code"); code == "" {
		return "", refuse(ReasonResponse, "The answer has no code.")
	}
	return code, nil
}

// Finish redeems a code for a grant, as the vault keeps it.
func (u *Upstream) Finish(ctx context.Context, s *directory.Server, j Journey, code, verifier string) (vault.Secret, error) {
	if s.OAuth == nil || j.Origin != oauthclient.Origin(s.URL) { // it was changed while the person was away
		return vault.Secret{}, refuse(ReasonDead, "The server %q was changed meanwhile: connect it anew.", s.Name)
	}
	g := grant{Journey: j}
	err := u.request(ctx, s, &g, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {u.redirectURI(s.Name)}, "code_verifier": {verifier},
	})
	if err != nil {
		return vault.Secret{}, err
	}
	g.Obtained = u.c.Now().UTC()
	return g.secret()
}

// request sends a token request and takes the tokens of the answer into the grant (RFC 6749 §5).
func (u *Upstream) request(ctx context.Context, s *directory.Server, g *grant, form url.Values) error {
	secret, err := u.secretOf(ctx, s, g.Issuer, g.Client)
	if err != nil {
		return err
	}
	if g.Resource != "" {
		form.Set("resource", g.Resource) // RFC 8707 §2.2
	}
	t, err := u.ask().Token(ctx, oauthclient.TokenRequest{
		Endpoint: g.Token, Issuer: g.Issuer, Identity: oauthclient.Identity{ID: g.Client.ID, Method: g.Client.Method, Secret: secret}, Form: form,
	})
	if refusal, ok := errors.AsType[*oauthclient.Refusal](err); ok {
		return u.refused(ctx, s, g, refusal)
	}
	if err != nil {
		return err
	}
	g.Access, g.Expires = t.Access.Reveal(), t.Expires
	if t.Refresh != "" { // else the old one is still good (RFC 6749 §6)
		g.Refresh = t.Refresh.Reveal()
	}
	return nil
}

// refused makes a fault of an error of a token endpoint. Nothing but its code is repeated.
func (u *Upstream) refused(ctx context.Context, s *directory.Server, g *grant, cause *oauthclient.Refusal) error {
	switch cause.Code {
	case "invalid_grant":
		return fault.New(fault.Precondition, ReasonDead, "The authorization server has ended the grant: connect the server anew.").Because(cause)
	case "invalid_client", "unauthorized_client":
		u.forget(ctx, s, g.Issuer, g.Client)
		return fault.Newf(fault.Precondition, ReasonClient, "The authorization server of %q does not take Penstock's client: check oauth.client_id and oauth.client_secret.", s.Name).Because(cause)
	default:
		return fault.Newf(fault.Precondition, ReasonResponse, "The %s of %q refuses the request.", oauthclient.TheToken, s.Name).Because(cause)
	}
}

func (g *grant) secret() (vault.Secret, error) {
	text, err := json.Marshal(g) //nolint:gosec // it is sealed next
	if err != nil {
		return vault.Secret{}, errors.New("encode a grant") // the encoder's error could quote it
	}
	return vault.Secret{Grant: obs.Secret(text)}, nil
}

func grantOf(s vault.Secret) (*grant, error) {
	g := &grant{}
	if err := json.Unmarshal([]byte(s.Grant.Reveal()), g); err != nil {
		return nil, errors.New("decode a grant: its form is unknown")
	}
	return g, nil
}
