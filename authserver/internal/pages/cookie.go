// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"
)

// LoginCookie is the base of the name of the cookie that holds the secret of a login; see [CookieName].
const LoginCookie = "penstock-login"

// CookieName returns the name of a cookie: base with "__Host-" before it, which ties it to this host and to TLS. A loopback
// http issuer has base alone: browsers refuse the prefix there (AZ-15).
func CookieName(issuer, base string) string {
	if plain(issuer) {
		return base
	}
	return "__Host-" + base
}

// Cookie returns a cookie that only this host gets and no script reads (AZ-15), with the name of [CookieName]. A negative
// life removes it; zero ends it with the browser.
func Cookie(issuer, base, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // Secure is off for a loopback http issuer alone (AZ-15)
		Name: CookieName(issuer, base), Value: value, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: !plain(issuer),
	}
	switch {
	case life < 0:
		c.MaxAge = -1
	case life > 0:
		c.MaxAge = int(life / time.Second)
	}
	return c
}

// CookieValue returns the value of the cookie of [CookieName], empty if the browser sent none or more than one.
func CookieValue(r *http.Request, issuer, base string) string {
	if found := r.CookiesNamed(CookieName(issuer, base)); len(found) == 1 {
		return found[0].Value
	}
	return ""
}

func plain(issuer string) bool { return strings.HasPrefix(issuer, "http://") }

// CSRF returns the token of a form (AZ-15): only who knows the secret, which a cookie of the browser holds, can make it, and it
// is good for what the form is about alone.
func CSRF(secret string, about ...string) string {
	m := hmac.New(sha256.New, []byte(secret))
	for _, a := range about {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(a)))
		m.Write(n[:]) // so that no two lists read alike
		m.Write([]byte(a))
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// ValidCSRF reports whether a token is that of [CSRF]. An empty secret has no valid token.
func ValidCSRF(token, secret string, about ...string) bool {
	return secret != "" && hmac.Equal([]byte(token), []byte(CSRF(secret, about...)))
}
