// SPDX-License-Identifier: Apache-2.0

package upstreamfake

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func (f *Fake) token(w http.ResponseWriter, r *http.Request) {
	b := f.behavior()
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if b.Asked != nil {
		b.Asked(r.PostForm.Get("grant_type"))
	}
	if b.Slow != nil {
		<-b.Slow
	}
	if b.Token != nil {
		b.Token(w, r)
		return
	}
	f.Lock()
	defer f.Unlock()
	id, ok := f.authenticated(r)
	if !ok {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	switch v := r.PostForm; v.Get("grant_type") {
	case "authorization_code":
		f.redeem(w, id, v, b)
	case "refresh_token":
		f.Refreshes++
		old := v.Get("refresh_token")
		if f.spent[old] { // a token that is used twice ends its grant
			clear(f.refresh)
			f.Mistakes = append(f.Mistakes, "a refresh token was used twice")
		}
		if f.refresh[old] != id {
			reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
		delete(f.refresh, old)
		f.spent[old] = true
		f.issue(w, id, b)
	case "client_credentials":
		f.Services++
		f.Wanted = v
		if id != f.ClientID {
			reply(w, http.StatusBadRequest, map[string]any{"error": "unauthorized_client"})
			return
		}
		f.issueAccess(w, b)
	default:
		f.mistake(w, "token request: grant_type")
	}
}

// revoke ends a token of its client's; with a refresh token it ends the access tokens, too (RFC 7009 §2.1).
func (f *Fake) revoke(w http.ResponseWriter, r *http.Request) {
	b := f.behavior()
	if b.Revoke != nil {
		b.Revoke(w, r)
		return
	}
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.Lock()
	defer f.Unlock()
	id, ok := f.authenticated(r)
	if !ok {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	token, hint := r.PostForm.Get("token"), r.PostForm.Get("token_type_hint")
	f.Revoked = append(f.Revoked, hint)
	if f.refresh[token] == id {
		delete(f.refresh, token)
		clear(f.access)
	}
	delete(f.access, token)
}

func (f *Fake) redeem(w http.ResponseWriter, id string, v url.Values, b Behavior) {
	asked, known := f.codes[v.Get("code")]
	delete(f.codes, v.Get("code"))
	sum := sha256.Sum256([]byte(v.Get("code_verifier")))
	switch {
	case !known, asked.Get("client_id") != id:
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
	case v.Get("redirect_uri") != asked.Get("redirect_uri"):
		f.mistake(w, "token request: redirect_uri")
	case len(v.Get("code_verifier")) < 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge"):
		f.mistake(w, "token request: code_verifier")
	case v.Get("resource") != asked.Get("resource"):
		f.mistake(w, "token request: resource")
	default:
		f.issue(w, id, b)
	}
}

func (f *Fake) issue(w http.ResponseWriter, id string, b Behavior) {
	access, refresh := f.mint("access"), f.mint("refresh")
	f.Secrets = append(f.Secrets, access, refresh)
	f.access[access], f.refresh[refresh] = true, id
	m := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh}
	if b.Tokens != nil {
		b.Tokens(m)
	}
	reply(w, http.StatusOK, m)
}

// issueAccess issues a token of the client's own (RFC 6749 §4.4.3: without a refresh token).
func (f *Fake) issueAccess(w http.ResponseWriter, b Behavior) {
	access := f.mint("access")
	f.Secrets = append(f.Secrets, access)
	f.access[access] = true
	m := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600}
	if b.Tokens != nil {
		b.Tokens(m)
	}
	reply(w, http.StatusOK, m)
}

// signed reports whether a client assertion is good (RFC 7523 §3): for this issuer alone, short, used once.
func (f *Fake) signed(v url.Values) bool {
	token, err := jwt.ParseSigned(v.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	var c struct {
		jwt.Claims

		Audience string `json:"aud"` // a list is refused
	}
	if err != nil || v.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || token.Claims(f.Key, &c) != nil {
		return false
	}
	now := f.Now()
	if c.Issuer != f.ClientID || c.Subject != f.ClientID || c.Audience != f.Issuer || c.Expiry == nil || c.ID == "" || f.spent[c.ID] ||
		c.Expiry.Time().Before(now) || c.Expiry.Time().After(now.Add(5*time.Minute)) {
		return false
	}
	f.spent[c.ID] = true
	return true
}

func (f *Fake) authenticated(r *http.Request) (id string, ok bool) {
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749 §2.3.1: both are form-encoded
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if id == f.ClientID && id != "" {
		if f.Key != nil {
			return id, secret == "" && f.signed(r.PostForm)
		}
		return id, secret == f.Secret
	}
	if strings.HasPrefix(id, "https://") { // a document
		return id, secret == ""
	}
	c, known := f.clients[id]
	return id, known && secret == c.secret
}
