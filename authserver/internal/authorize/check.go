// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

const (
	maxState     = 2 << 10 // bytes (AZ-9)
	challengeLen = 43      // SHA-256 in base64url without padding (RFC 7636 §4.2)
)

// check checks all but client and redirect URI, and fills in the request and what is known of its gateway.
func (h *Handler) check(view *directory.View, p parameters, c *ask.Case) *oauthfault.Error {
	if p.repeated() {
		return bad("A parameter was sent twice.")
	}
	if len(c.Request.State) > maxState {
		return bad("The state is longer than 2 KiB.")
	}
	for _, step := range []func(parameters, *ask.Request) *oauthfault.Error{objects, response, challenge, prompt} {
		if e := step(p, &c.Request); e != nil {
			return e
		}
	}
	if !slices.Contains(c.Client.Grants, "authorization_code") {
		return oauthfault.New(oauthfault.UnauthorizedClient, "The client is not registered for the grant authorization_code.")
	}
	scope, _ := p.one("scope")
	c.Request.Scopes = strings.Fields(scope)
	return h.resource(view, p, c)
}

// objects: requests are parameters (OpenID Connect Core §6 is not offered).
func objects(p parameters, _ *ask.Request) *oauthfault.Error {
	if len(p["request"]) > 0 {
		return oauthfault.New(oauthfault.RequestNotSupported, "The parameter request is not supported.")
	}
	if len(p["request_uri"]) > 0 {
		return oauthfault.New(oauthfault.RequestURINotSupported, "The parameter request_uri is not supported.")
	}
	return nil
}

func response(p parameters, _ *ask.Request) *oauthfault.Error {
	switch kind, _ := p.one("response_type"); kind {
	case "code":
	case "":
		return bad("The parameter response_type is missing. It has to be code.")
	default:
		return oauthfault.New(oauthfault.UnsupportedResponseType, "The parameter response_type has to be code.")
	}
	if mode, _ := p.one("response_mode"); mode != "" && mode != "query" {
		return bad("The parameter response_mode has to be query.")
	}
	return nil
}

// challenge checks PKCE (AZ-4). A method that is left out means "plain".
func challenge(p parameters, q *ask.Request) *oauthfault.Error {
	q.Challenge, _ = p.one("code_challenge")
	switch method, _ := p.one("code_challenge_method"); {
	case q.Challenge == "":
		return bad("The parameter code_challenge is missing: PKCE is required.")
	case method != "S256":
		return bad("The parameter code_challenge_method has to be S256.")
	case len(q.Challenge) != challengeLen || strings.ContainsFunc(q.Challenge, notBase64URL):
		return bad("The parameter code_challenge has to be 43 characters of base64url.")
	}
	return nil
}

func notBase64URL(c rune) bool {
	return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c)
}

// prompt checks the parameter of OpenID Connect Core §3.1.2.1 (AZ-21).
func prompt(p parameters, q *ask.Request) *oauthfault.Error {
	value, _ := p.one("prompt")
	for _, word := range strings.Fields(value) {
		switch word {
		case "none":
			q.Silent = true
		case "login":
			q.Fresh = true
		case "consent":
			q.Again = true
		default:
			return bad("The parameter prompt takes none, login and consent.")
		}
	}
	if q.Silent && (q.Fresh || q.Again) {
		return bad("The parameter prompt has none together with something else.")
	}
	return nil
}

// resource finds the gateway (AZ-5, AZ-6). Without one, and without a default, the person's only gateway is taken when she is
// known.
func (h *Handler) resource(view *directory.View, p parameters, c *ask.Case) *oauthfault.Error {
	named := p["resource"]
	if len(named) == 0 && h.cfg.DefaultResource != "" {
		named = []string{h.cfg.DefaultResource}
	}
	switch len(named) {
	case 0:
		return nil
	case 1:
	default:
		return oauthfault.New(oauthfault.InvalidTarget, "The parameter resource was sent twice: a token is for one gateway.")
	}
	g, ok := view.ParseResource(named[0])
	if !ok {
		return oauthfault.New(oauthfault.InvalidTarget, "The parameter resource names no gateway of this organisation.")
	}
	c.Gateway, c.Request.Gateway = g, g.UID
	_, e := ask.Scopes(c.Request.Scopes, g, c.Client)
	return e
}

func bad(text string) *oauthfault.Error { return oauthfault.New(oauthfault.InvalidRequest, text) }
