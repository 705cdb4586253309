// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	idJAGType     = "urn:ietf:params:oauth:token-type:id-jag"
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// registration is an MCP client as the provider knows it, and as whom Penstock does.
type registration struct {
	idAtProvider, secret, callback string
	idAtPenstock                   string
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage: the provider's policy. The app may exchange ID tokens.
func (g groupsOf) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	if r.GetClientID() != "app" || r.GetExchangeSubjectTokenType() != oidc.IDTokenType {
		return errors.New("this client may not exchange this token")
	}
	return nil
}

// assert answers a token exchange with an identity assertion (ID-JAG). The library parses and authorizes the exchange; it issues
// no such token itself.
func (p *identityProvider) assert(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	asked, id, secret, err := op.ParseTokenExchangeRequest(r, p.op.Decoder())
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	asked.RequestedTokenType = oidc.IDTokenType // the library knows no ID-JAG
	exchange, _, err := op.ValidateTokenExchangeRequest(ctx, asked, id, secret, p.op)
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	text, err := p.assertion(ctx, exchange)
	if err != nil {
		op.RequestError(w, r, err, nil)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the test sees what is not whole
		"issued_token_type": idJAGType, "access_token": text, "token_type": "N_A", "expires_in": 300, "scope": strings.Join(exchange.GetScopes(), " "),
	})
}

// assertion signs what an exchange is about with the provider's own key.
func (p *identityProvider) assertion(ctx context.Context, r op.TokenExchangeRequest) (string, error) {
	if len(r.GetAudience()) != 1 || len(r.GetResourses()) != 1 {
		return "", oidc.ErrInvalidRequest().WithDescription("an assertion is for one server and one resource")
	}
	info := new(oidc.UserInfo)
	people, ok := p.op.Storage().(op.CanSetUserinfoFromRequest)
	if !ok {
		return "", errors.New("the provider knows nobody")
	}
	if err := people.SetUserinfoFromRequest(ctx, info, r, []string{oidc.ScopeEmail}); err != nil {
		return "", err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer(), "sub": r.GetSubject(), "aud": r.GetAudience()[0], "client_id": p.app.idAtPenstock, "jti": uuid.NewString(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "resource": r.GetResourses()[0], "scope": strings.Join(r.GetScopes(), " "),
		"email": info.Email, "email_verified": bool(info.EmailVerified), "auth_time": r.GetAuthTime().Unix(),
	})
	if err != nil {
		return "", err
	}
	key, err := p.op.Storage().SigningKey(ctx)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: key.SignatureAlgorithm(), Key: jose.JSONWebKey{Key: key.Key(), KeyID: key.ID()}},
		(&jose.SignerOptions{}).WithType("oauth-id-jag+jwt"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// signIn has somebody log in to the app at the provider and returns her ID token.
func (p *identityProvider) signIn(t *testing.T, who person) string {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	follow := func(to string) *url.URL {
		answer := sendForm(t, browser, http.MethodGet, to, nil, nil)
		return answer.location(t, to)
	}
	page := follow(p.issuer() + "/auth?" + url.Values{
		"client_id": {p.app.idAtProvider}, "redirect_uri": {p.app.callback}, "response_type": {"code"}, "scope": {"openid email"}, "state": {"s"},
	}.Encode())
	form := url.Values{"username": {who.Username}, "password": {who.Password}, "id": {page.Query().Get("authRequestID")}}
	back := sendForm(t, browser, http.MethodPost, p.issuer()+"/login/username", form, nil).location(t, p.issuer())
	code := follow(back.String()).Query().Get("code")
	var got struct {
		IDToken string `json:"id_token"`
	}
	answer := sendForm(t, browser, http.MethodPost, p.issuer()+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.app.callback},
	}, []string{p.app.idAtProvider, p.app.secret})
	answer.decode(t, &got)
	if got.IDToken == "" {
		t.Fatalf("no ID token: %d %s", answer.status, answer.body)
	}
	return got.IDToken
}

// exchange exchanges an ID token for an identity assertion, as an MCP client does (EMA).
func (p *identityProvider) exchange(t *testing.T, idToken, audience, resource string) string {
	t.Helper()
	var got struct {
		Token  string `json:"access_token"`
		Issued string `json:"issued_token_type"`
		Type   string `json:"token_type"`
	}
	answer := sendForm(t, http.DefaultClient, http.MethodPost, p.issuer()+"/oauth/token", url.Values{
		"grant_type": {exchangeGrant}, "requested_token_type": {idJAGType}, "audience": {audience}, "resource": {resource}, "scope": {"mcp"},
		"subject_token": {idToken}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	}, []string{p.app.idAtProvider, p.app.secret})
	answer.decode(t, &got)
	if got.Issued != idJAGType || got.Type != "N_A" || got.Token == "" {
		t.Fatalf("the exchange answers %d %s", answer.status, answer.body)
	}
	return got.Token
}

// replied is an answer, read whole.
type replied struct {
	status int
	header http.Header
	body   string
}

func (r replied) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("the answer %d is no JSON: %s", r.status, r.body)
	}
}

func (r replied) location(t *testing.T, base string) *url.URL {
	t.Helper()
	from, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	to, err := from.Parse(r.header.Get("Location"))
	if err != nil || r.header.Get("Location") == "" {
		t.Fatalf("%s leads nowhere: %d %s", base, r.status, r.body)
	}
	return to
}

// sendForm sends a form, or nothing, with HTTP Basic if basic has a name and a secret.
func sendForm(t *testing.T, c *http.Client, method, to string, form url.Values, basic []string) replied {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if len(basic) == 2 && !slices.Contains(basic, "") {
		r.SetBasicAuth(url.QueryEscape(basic[0]), url.QueryEscape(basic[1]))
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return replied{answer.StatusCode, answer.Header, string(body)}
}
