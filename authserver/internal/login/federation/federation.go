// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the faults of this package. All but the first are Denied: the login is refused.
const (
	ReasonUnreachable  = "PROVIDER_UNREACHABLE"   // Unavailable: no answer, or one of a server in trouble
	ReasonDocument     = "PROVIDER_DOCUMENT"      // the discovery document cannot be used
	ReasonIssuer       = "ISSUER_MISMATCH"        // the answer or a document comes from another issuer (RFC 9207)
	ReasonRefused      = "PROVIDER_REFUSED"       // the provider answered with an error
	ReasonResponse     = "RESPONSE_INVALID"       // the answer has no code, or several
	ReasonCode         = "CODE_REFUSED"           // the code could not be redeemed
	ReasonNoToken      = "ID_TOKEN_MISSING"       // there is no ID token in the provider's answer
	ReasonToken        = "ID_TOKEN_INVALID"       // signature, iss, aud, exp or form
	ReasonNonce        = "NONCE_MISMATCH"         // the ID token belongs to another login
	ReasonParty        = "AUTHORIZED_PARTY"       // azp is another client
	ReasonTime         = "ID_TOKEN_TIME"          // iat is missing, old or ahead
	ReasonAccessToken  = "ACCESS_TOKEN_HASH"      // at_hash is that of another access token
	ReasonRequired     = "REQUIRED_CLAIM_MISSING" // a claim that the administrator requires is missing or different
	ReasonSubject      = "SUBJECT_INVALID"
	ReasonUserInfo     = "USERINFO_MISMATCH"    // UserInfo tells of somebody else
	ReasonSignature    = "SIGNATURE_INVALID"    // an identity assertion is not signed by the provider
	ReasonLogoutToken  = "LOGOUT_TOKEN_INVALID" // signature, form or content of a logout token
	ReasonEnded        = "REFRESH_TOKEN_ENDED"  // the provider does not take a refresh token any more
	ReasonProof        = "PROOF_WANTED"         // the provider wants the person to log in, and to prove more
	ReasonClient       = "CLIENT_REFUSED"       // the provider does not take Penstock's client
	codeErrorMaxLength = 64
)

// Config is what a [Party] needs. Now may be nil, which means time.Now.
type Config struct {
	// HTTP reaches identity providers: it has the guarded dialer of kit/egress. Redirects, time and sizes are bounded here.
	HTTP *http.Client
	Now  func() time.Time
}

// Party is the relying party. It is safe for concurrent use.
type Party struct {
	client *http.Client
	now    func() time.Time

	mu        sync.Mutex // guards providers
	providers map[string]*entry
}

// New returns a relying party.
func New(c Config) (*Party, error) {
	if c.HTTP == nil {
		return nil, errors.New("a relying party needs an HTTP client")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Party{client: guarded(c.HTTP), now: c.Now, providers: make(map[string]*entry)}, nil
}

// Attempt is one login. Its secrets are made of what the browser holds and are stored nowhere.
type Attempt struct {
	State, Nonce, Verifier string
	RedirectURI            string
	Again                  bool // the person is to prove herself even if the provider knows her (prompt=login)
	Proof                  Proof
}

// Proof is what a login is asked for besides who somebody is. The zero value is nothing.
type Proof struct {
	Claims    string        // parameter claims: a JSON object (OpenID Connect Core 1.0 §5.5, and the claims challenges of Entra ID)
	ACRValues string        // parameter acr_values
	MaxAge    time.Duration // parameter max_age, in whole seconds; 0 leaves it out
	Consent   bool          // the person is asked for consent: some providers give no refresh token otherwise (§11)
}

// Account is who somebody is at an identity provider.
type Account struct {
	Subject       string
	Email         string
	EmailVerified bool
	DisplayName   string
	Groups        []string
	GroupsKnown   bool // Groups is all of them, be it none
	AMR           []string
	AuthTime      time.Time // zero if the provider did not say
	Session       string    // sid of the ID token; empty: the provider names none
	Tokens        Tokens    // what the login left; nothing unless the provider's tokens are kept
}

// AuthURL returns where the browser goes to log in: the authorization endpoint with code, PKCE (S256), state and nonce.
func (p *Party) AuthURL(ctx context.Context, idp *directory.Provider, a Attempt) (string, error) {
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Verifier), oidc.Nonce(a.Nonce)}
	options = append(options, a.options()...)
	return p.config(idp, found, "", a.RedirectURI).AuthCodeURL(a.State, options...), nil
}

// Finish redeems the code of an authorization response and returns who logged in. secret is the client secret, empty for a
// public client. The state is the caller's to compare.
func (p *Party) Finish(
	ctx context.Context, idp *directory.Provider, secret obs.Secret, response url.Values, a Attempt,
) (Account, error) {
	found, err := p.discover(ctx, idp.Issuer)
	if err != nil {
		return Account{}, err
	}
	code, err := codeOf(response, idp.Issuer, found.namesIssuer)
	if err != nil {
		return Account{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client) // oauth2 reads the same key
	asked := p.now()
	tokens, err := p.config(idp, found, secret, a.RedirectURI).Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return Account{}, exchangeFault(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return Account{}, refuse(ReasonNoToken, nil)
	}
	c, err := p.verify(ctx, idp, found, raw, tokens.AccessToken, a.Nonce)
	if err != nil {
		return Account{}, err
	}
	account := c.account(idp.GroupsClaim)
	if idp.Kept != nil {
		account.Tokens = Tokens{
			Access: secretOf(tokens.AccessToken), Expires: endOf(asked, float64(tokens.ExpiresIn)), ID: secretOf(raw), IDExpires: c.expires,
			Refresh: secretOf(tokens.RefreshToken), Subject: c.known.Subject, Nonce: a.Nonce,
		}
	}
	// Some providers list groups nowhere else. Asking is worth it only where groups count.
	groups := idp.MapsGroups && c.isSilent(idp.GroupsClaim)
	if (account.Email == "" || groups) && found.provider.UserInfoEndpoint() != "" {
		account.GroupsKnown = account.GroupsKnown && !groups
		err = p.askUserInfo(ctx, found, tokens, &account, groups, idp.GroupsClaim)
	}
	return account, err
}

func (p *Party) config(idp *directory.Provider, found *discovered, secret obs.Secret, redirect string) *oauth2.Config {
	endpoint := found.provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if secret == "" || found.secretInForm {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: idp.ClientID, ClientSecret: secret.Reveal(), Endpoint: endpoint, RedirectURL: redirect,
		Scopes: scopesOf(idp),
	}
}

// scopesOf returns what a login asks for, each once.
func scopesOf(idp *directory.Provider) []string {
	all := append([]string{oidc.ScopeOpenID}, idp.Scopes...)
	if idp.Kept == nil {
		return all
	}
	for _, s := range idp.Kept.Scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// options are the parameters of an authorization request that only some logins have.
func (a Attempt) options() []oauth2.AuthCodeOption {
	var prompt []string
	if a.Again {
		prompt = append(prompt, "login")
	}
	if a.Proof.Consent {
		prompt = append(prompt, "consent")
	}
	var list []oauth2.AuthCodeOption
	for _, one := range []struct{ name, value string }{
		{"prompt", strings.Join(prompt, " ")}, {"claims", a.Proof.Claims}, {"acr_values", a.Proof.ACRValues},
	} {
		if one.value != "" {
			list = append(list, oauth2.SetAuthURLParam(one.name, one.value))
		}
	}
	if a.Proof.MaxAge > 0 {
		list = append(list, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(int64(a.Proof.MaxAge/time.Second), 10)))
	}
	return list
}

// codeOf reads an authorization response: each parameter once (RFC 6749 §3.1), from the right issuer (RFC 9207 §2.4).
func codeOf(response url.Values, issuer string, named bool) (string, error) {
	for _, name := range []string{"code", "iss", "error"} {
		if len(response[name]) > 1 {
			return "", refuse(ReasonResponse, nil)
		}
	}
	if iss := response.Get("iss"); iss != issuer && (iss != "" || named) {
		return "", refuse(ReasonIssuer, nil)
	}
	if response.Has("error") {
		return "", refuse(ReasonRefused, errors.New("error is "+errorCode(response.Get("error"))))
	}
	code := response.Get("code")
	if code == "" {
		return "", refuse(ReasonResponse, nil)
	}
	return code, nil
}

// exchangeFault keeps the body of the provider's answer out of errors and logs: it may hold tokens.
func exchangeFault(err error) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok:
		if _, transport := errors.AsType[*url.Error](err); transport {
			return unreachable(err)
		}
		return refuse(ReasonCode, errors.New("the token response cannot be read"))
	case answer.Response != nil && answer.Response.StatusCode >= http.StatusInternalServerError:
		return unreachable(errors.New("the token endpoint answers " + answer.Response.Status))
	default:
		return refuse(ReasonCode, errors.New("error is "+errorCode(answer.ErrorCode)))
	}
}

// errorCode returns an error code of OAuth as it may be logged: RFC 6749 §5.2 allows more, nobody uses it.
func errorCode(code string) string {
	known := code != "" && len(code) <= codeErrorMaxLength
	for _, r := range code {
		known = known && (r == '_' || 'a' <= r && r <= 'z')
	}
	if !known {
		return "unreadable"
	}
	return code
}

// askUserInfo fills in what the ID token did not say (OpenID Connect Core 1.0 §5.3), groups included if they are wanted. No
// answer is no obstacle: a known account needs no address, and stays in its teams.
func (p *Party) askUserInfo(
	ctx context.Context, found *discovered, tokens *oauth2.Token, a *Account, groups bool, groupsClaim string,
) error {
	info, err := found.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if info.Subject != a.Subject {
		return refuse(ReasonUserInfo, nil)
	}
	var c claims
	if err := errors.Join(info.Claims(&c.known), info.Claims(&c.all)); err != nil {
		return nil //nolint:nilerr // see above
	}
	if groups {
		a.Groups, a.GroupsKnown = c.groups(groupsClaim)
	}
	if a.Email == "" {
		a.Email, a.EmailVerified = c.email()
	}
	if a.DisplayName == "" {
		a.DisplayName = c.name()
	}
	return nil
}

func refuse(reason string, cause error) error {
	f := fault.New(fault.Denied, reason, "The identity provider's answer cannot be accepted.")
	if cause != nil {
		f = f.Because(cause)
	}
	return f
}

func unreachable(cause error) error {
	return fault.New(fault.Unavailable, ReasonUnreachable, "The identity provider cannot be reached.").Because(cause)
}

// secureAs reports whether an endpoint is as safe as its issuer: https, or plain for a plain issuer on this machine.
func secureAs(issuer, endpoint string) bool {
	i, err := url.Parse(issuer)
	if err != nil {
		return false
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" || e.User != nil || e.Fragment != "" {
		return false
	}
	return e.Scheme == "https" || e.Scheme == "http" && i.Scheme == "http" && isLoopback(i.Hostname()) && isLoopback(e.Hostname())
}

func isLoopback(host string) bool {
	switch strings.ToLower(host) {
	case "127.0.0.1", "::1", "localhost":
		return true
	}
	return false
}
