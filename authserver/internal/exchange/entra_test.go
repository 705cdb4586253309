// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	entraApp    = "535fb089-9ff3-47b6-9bfb-4f1264799865"
	entraScope  = "api://crm/.default"
	entraSecret = "canary-secret-at-entra"
)

// entra is a double of a tenant of Entra ID: its metadata and its v2.0 token endpoint, as Microsoft documents the on-behalf-of flow.
// Whatever breaks its rules is refused in its words, and remembered. It keeps state: which refresh tokens are good, and who has proven
// a second factor.
type entra struct {
	t      *testing.T
	url    string
	issuer string
	key    *ecdsa.PrivateKey

	mu        sync.Mutex // guards what follows
	now       func() time.Time
	requests  int // to the token endpoint
	renewals  int
	mistakes  []string
	revoked   map[string]bool // assertions that are not good any more
	refresh   string          // token that is good
	strong    map[string]bool // people who have proven a second factor; it is wanted if wantsMFA is true
	wantsMFA  bool
	unconsent bool // nobody has consented to the app's permissions at the API
	down      bool
	always    http.HandlerFunc // answers exchanges whatever they are; nil: does not
}

func newEntra(t *testing.T) *entra {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := &entra{t: t, key: key, now: time.Now, revoked: map[string]bool{}, strong: map[string]bool{}, refresh: "canary-entra-refresh-1"}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tenant/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{
			"issuer": e.issuer, "token_endpoint": e.url + "/tenant/oauth2/v2.0/token",
			"authorization_endpoint":                e.url + "/tenant/oauth2/v2.0/authorize",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		})
	})
	mux.HandleFunc("POST /tenant/oauth2/v2.0/token", e.token)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	e.url, e.issuer = server.URL, server.URL+"/tenant/v2.0"
	return e
}

// access makes an access token for Penstock's app, changed: nil takes a claim away.
func (e *entra) access(who string, changes map[string]any) string {
	e.t.Helper()
	now := e.now()
	c := map[string]any{
		"iss": e.issuer, "sub": who, "aud": "api://" + entraApp, "scp": "access_as_user", "tid": "tenant", "ver": "2.0", "uti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: e.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		e.t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// fail answers in the form of Entra ID's errors.
func (e *entra) fail(w http.ResponseWriter, status int, code, aadsts string, more map[string]any) {
	body := map[string]any{
		"error": code, "error_description": aadsts + ": canary-description. Trace ID: 0000aaaa",
		"timestamp": "2026-01-09 02:02:12Z", "trace_id": "0000aaaa", "correlation_id": "aaaa0000",
	}
	maps.Copy(body, more)
	reply(w, status, body)
}

func (e *entra) mistake(w http.ResponseWriter, code, aadsts string) {
	e.mistakes = append(e.mistakes, aadsts)
	e.fail(w, http.StatusBadRequest, code, aadsts, nil)
}

func (e *entra) token(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	if e.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		e.mistake(w, "invalid_request", "AADSTS900144")
		return
	}
	f := r.PostForm
	for name, values := range f {
		if len(values) != 1 {
			e.mistake(w, "invalid_request", "AADSTS90100 "+name)
			return
		}
	}
	switch {
	case f.Has("resource"):
		e.mistake(w, "invalid_target", "AADSTS901002")
	case f.Get("client_id") != entraApp:
		e.mistake(w, "unauthorized_client", "AADSTS700016")
	case f.Get("client_secret") != entraSecret:
		e.fail(w, http.StatusUnauthorized, "invalid_client", "AADSTS7000215", nil)
	case f.Get("scope") == "":
		e.mistake(w, "invalid_request", "AADSTS900144")
	case f.Get("grant_type") == "refresh_token":
		e.renew(w, f)
	case f.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
		e.mistake(w, "unsupported_grant_type", "AADSTS70003")
	case f.Get("requested_token_use") != "on_behalf_of":
		e.mistake(w, "invalid_request", "AADSTS900144")
	case len(f) != 6:
		e.mistake(w, "invalid_request", "more than is documented: "+strings.Join(slices.Sorted(maps.Keys(f)), " "))
	case e.always != nil:
		e.always(w, r)
	default:
		e.onBehalfOf(w, f)
	}
}

func (e *entra) renew(w http.ResponseWriter, f url.Values) {
	e.renewals++
	if f.Get("refresh_token") != e.refresh {
		e.fail(w, http.StatusBadRequest, "invalid_grant", "AADSTS70000", nil)
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "scope": f.Get("scope"), "expires_in": 3600, "access_token": e.access("ada", nil), "refresh_token": e.refresh,
	})
}

func (e *entra) onBehalfOf(w http.ResponseWriter, f url.Values) {
	object, err := jose.ParseSignedCompact(f.Get("assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		e.mistake(w, "invalid_grant", "AADSTS50027") // InvalidJwtToken
		return
	}
	text, err := object.Verify(e.key.Public())
	var c struct {
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Scopes   string `json:"scp"`
		Kind     string `json:"idtyp"`
		Expires  int64  `json:"exp"`
	}
	switch {
	case err != nil || json.Unmarshal(text, &c) != nil:
		e.fail(w, http.StatusBadRequest, "invalid_grant", "AADSTS50013", nil) // signature
	case c.Audience != entraApp && c.Audience != "api://"+entraApp:
		e.mistake(w, "invalid_grant", "AADSTS500131")
	case c.Kind == "app" || c.Scopes == "":
		e.mistake(w, "invalid_grant", "AADSTS5002710")
	case e.now().Unix() >= c.Expires:
		e.mistake(w, "invalid_grant", "AADSTS500133")
	case e.revoked[f.Get("assertion")]:
		e.fail(w, http.StatusBadRequest, "invalid_grant", "AADSTS50013", nil)
	case e.unconsent:
		e.fail(w, http.StatusBadRequest, "invalid_grant", "AADSTS65001", map[string]any{"suberror": "consent_required"})
	case f.Get("scope") != entraScope:
		e.fail(w, http.StatusBadRequest, "invalid_scope", "AADSTS70011", nil)
	case e.wantsMFA && !e.strong[c.Subject]:
		e.fail(w, http.StatusBadRequest, "interaction_required", "AADSTS50079", map[string]any{
			"suberror": "basic_action", "claims": `{"access_token":{"polids":{"essential":true,"values":["9ab03e19"]}}}`,
		})
	default:
		reply(w, http.StatusOK, map[string]any{
			"token_type": "Bearer", "scope": f.Get("scope"), "expires_in": 3269, "ext_expires_in": 0, "access_token": "entra-for-" + c.Subject,
		})
	}
}

// set changes how Entra ID is.
func (e *entra) set(change func(e *entra)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *entra) counts() (requests, renewals int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests, e.renewals
}

// check fails the test if the client broke a rule.
func (e *entra) check() {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.mistakes) > 0 {
		e.t.Errorf("mistakes of the client: %q", e.mistakes)
	}
}
