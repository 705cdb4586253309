// SPDX-License-Identifier: Apache-2.0

package loginfake

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// EndAll ends all refresh tokens.
func (p *Provider) EndAll() {
	p.Lock()
	defer p.Unlock()
	clear(p.refresh)
}

// Count returns how many tokens refresh tokens gave.
func (p *Provider) Count() int {
	p.Lock()
	defer p.Unlock()
	return p.Refreshes
}

// wait holds a refresh up, without the lock.
func (p *Provider) wait(r *http.Request) {
	p.Lock()
	slow := p.Behavior.Slow
	p.Unlock()
	if slow != nil && r.URL.Path == "/token" {
		<-slow
	}
}

// renew answers a refresh request. A refresh token that was replaced before is a mistake, and ends all.
func (p *Provider) renew(w http.ResponseWriter, f url.Values) {
	p.RefreshForm = f
	if p.Behavior.Refresh != nil {
		if status, body := p.Behavior.Refresh(f); body != nil {
			answer(w, status, body)
			return
		}
	}
	old := f.Get("refresh_token")
	nonce, live := p.refresh[old]
	switch {
	case p.spent[old]:
		clear(p.refresh)
		p.mistake(w, "refresh request: the token was used before")
		return
	case !live:
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": old})
		return
	}
	p.Refreshes++
	out := map[string]any{"access_token": random(), "token_type": "Bearer", "expires_in": 300}
	now := p.Now()
	c := map[string]any{"iss": p.Issuer, "sub": p.Subject, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix()}
	if resource := f.Get("resource"); resource != "" || f.Get("scope") != "" {
		c["aud"] = resource
		if p.Behavior.Access != nil {
			p.Behavior.Access(f, c)
		}
		body, err := json.Marshal(c)
		if err != nil {
			p.mistake(w, err.Error())
			return
		}
		out["access_token"] = ES256(body, p.key)
	} else {
		c["aud"], c["nonce"], c["at_hash"] = p.Client.ID, nonce, accessHash(out["access_token"].(string))
		if p.Behavior.Claims != nil {
			p.Behavior.Claims(c)
		}
		body, err := json.Marshal(c)
		if err != nil {
			p.mistake(w, err.Error())
			return
		}
		out["id_token"] = ES256(body, p.key)
	}
	if !p.Behavior.Steady {
		delete(p.refresh, old)
		p.spent[old] = true
		out["refresh_token"] = p.newRefresh(nonce)
	}
	p.remember(out)
	if p.Behavior.Tokens != nil {
		p.Behavior.Tokens(out)
	}
	answer(w, http.StatusOK, out)
}

func (p *Provider) newRefresh(nonce string) string {
	token := "rt-" + random()
	p.refresh[token] = nonce
	return token
}

// remember notes the tokens of an answer.
func (p *Provider) remember(out map[string]any) {
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		if token, _ := out[name].(string); token != "" {
			// The first part of a JWT is no secret, and the same in all.
			p.Secrets = append(p.Secrets, token[strings.LastIndexByte(token, '.')+1:])
		}
	}
}

// revoke is the endpoint of RFC 7009.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	if p.Behavior.Revoke != nil {
		p.Behavior.Revoke(w, r)
		return
	}
	if err := r.ParseForm(); err != nil || !p.authenticated(r) || r.PostForm.Get("token_type_hint") != "refresh_token" {
		p.mistake(w, "revocation request")
		return
	}
	token := r.PostForm.Get("token")
	if _, live := p.refresh[token]; live {
		delete(p.refresh, token)
		p.Revoked++
	}
	w.WriteHeader(http.StatusOK)
}
