// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/clients/assertion"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// presented is what a request authenticates with: at most one of secret and assertion.
type presented struct {
	id        string
	secret    string
	assertion *assertion.Assertion
	basic     bool
}

// challenge marks an error of a request with HTTP Basic, whose answer has a challenge (RFC 6749 §5.2).
func (p presented) challenge(e *oauthfault.Error) *oauthfault.Error {
	c := *e
	c.Basic = p.basic
	return &c
}

// present reads what a request authenticates with.
func present(r *http.Request, form url.Values) (presented, error) {
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if len(form[name]) > 1 {
			return presented{}, oauthfault.New(oauthfault.InvalidRequest, name+" is there more than once.")
		}
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return presented{}, oauthfault.New(oauthfault.InvalidRequest, "There is more than one Authorization header.")
	}
	id, secret, text := form.Get("client_id"), form.Get("client_secret"), form.Get("client_assertion")
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	basic := strings.EqualFold(scheme, "Basic")
	if basic && (secret != "" || text != "") || secret != "" && text != "" {
		return presented{}, oauthfault.New(oauthfault.InvalidRequest, "The client authenticates with more than one method.")
	}
	switch {
	case basic:
		return presentBasic(r, id)
	case text != "" || form.Get("client_assertion_type") != "":
		return presentAssertion(id, text, form.Get("client_assertion_type"))
	case id == "":
		return presented{}, oauthfault.New(oauthfault.InvalidRequest, "client_id is missing.")
	default:
		return presented{id: id, secret: secret}, nil
	}
}

// presentBasic reads HTTP Basic, whose two parts are form-urlencoded first (RFC 6749 §2.3.1).
func presentBasic(r *http.Request, id string) (presented, error) {
	name, password, ok := r.BasicAuth()
	user, err1 := url.QueryUnescape(name)
	secret, err2 := url.QueryUnescape(password)
	if !ok || err1 != nil || err2 != nil || user == "" {
		e := oauthfault.New(oauthfault.InvalidClient, "The Authorization header is not form-urlencoded HTTP Basic.")
		e.Basic = true
		return presented{}, e
	}
	if id != "" && id != user {
		return presented{}, oauthfault.New(oauthfault.InvalidRequest, "client_id is not the one of the Authorization header.")
	}
	return presented{id: user, secret: secret, basic: true}, nil
}

func presentAssertion(id, text, kind string) (presented, error) {
	if kind != assertion.Type || text == "" {
		return presented{}, oauthfault.New(oauthfault.InvalidRequest, "client_assertion and client_assertion_type go together; the type is "+assertion.Type+".")
	}
	a, err := assertion.Parse(text)
	if err != nil {
		return presented{}, oauthfault.New(oauthfault.InvalidClient, "The client assertion cannot be used.").Because(err)
	}
	if id != "" && id != a.Subject() {
		return presented{}, oauthfault.New(oauthfault.InvalidClient, "client_id is not the subject of the client assertion.")
	}
	return presented{id: a.Subject(), assertion: a}, nil
}
