// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// goTo goes on from a page to the provider okta, logs in there, and returns what the provider was asked for, and what comes after it.
func (w *town) goTo(idp *loginfake.Provider, away reply) (url.Values, reply) {
	w.t.Helper()
	p := person{town: w}
	to := regexp.MustCompile(`href="(` + regexp.QuoteMeta(idp.Issuer) + `/[^"]+)"`).FindStringSubmatch(away.body)
	if to == nil {
		w.t.Fatalf("no way to the provider: %d %s", away.status, away.body)
	}
	back := p.want("provider", w.send(http.MethodGet, html.UnescapeString(to[1]), ""), 303).header.Get("Location")
	after := w.send(http.MethodGet, back, "")
	idp.Lock()
	defer idp.Unlock()
	for _, token := range idp.Secrets {
		w.secret("token of the provider", token)
	}
	return idp.Seen, after
}

// §16 160, UP-7: where an exchange needs a stronger login, the one that a connect link leads to asks for it, nothing is asked of the provider's token
// endpoint before, and then calls work.
func TestStepUpLogin(t *testing.T) {
	const claims = `{"access_token":{"polids":{"essential":true,"values":["canary-policy"]}}}`
	idp := loginfake.New(t)
	asked, strong := 0, false
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		body := map[string]any{"error": "interaction_required", "suberror": "basic_action", "claims": claims}
		if strong {
			body = map[string]any{
				"access_token": "canary-exchanged", "token_type": "Bearer", "expires_in": 300,
				"issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
			}
		} else {
			w.WriteHeader(http.StatusBadRequest)
		}
		_ = json.NewEncoder(w).Encode(body) // the test sees what is not whole
	}))
	t.Cleanup(sts.Close)
	w := newTownWith(t, func(c *Config) { c.Egress.AllowLoopback = true }, crm(idp.Issuer, sts.URL), func(s state) {
		s.Get("user", "ada@example.com").GetUser().Identities = []*resourcev1.Identity{{Issuer: idp.Issuer, Subject: idp.Subject}}
	})
	idp.Client = loginfake.Client{ID: "penstock", RedirectURI: w.issuer + "/login/callback/okta"}
	resolve := func() string {
		t.Helper()
		return w.asRole(ident.RoleNode, resolveTo, "application/json",
			`{"connectionUid":"uid-c-org","version":"made-1","principal":{"kind":"user","uid":"uid-ada"}}`).body
	}

	p := person{town: w}
	form := p.want("login page", w.get("/login"), 200).form(w, "okta")
	seen, after := w.goTo(idp, p.want("way to the provider", w.post("/login/provider/okta", form), 200))
	if p.want("login", after, 303); seen.Has("claims") || !strings.Contains(seen.Get("scope"), "offline_access") {
		t.Errorf("the first login asks for %v", seen)
	}
	if got := resolve(); !strings.Contains(got, "The identity provider wants a stronger login for this server: log in there anew.") {
		t.Errorf("a weak login: %s", got)
	}
	for range 5 {
		if got := resolve(); !strings.Contains(got, "okta wants more proof of who you are.") {
			t.Errorf("a weak login, again: %s", got)
		}
	}
	if asked != 1 {
		t.Errorf("the provider was asked %d times", asked)
	}
	strong = true
	link := w.asRole(ident.RoleNode, linkTo, "application/json", `{"userUid":"uid-ada","server":"crm","gateway":"eng"}`).member(w, "url", "")
	path := strings.TrimPrefix(link, w.issuer)
	form = p.want("connect page", w.get(path), 200).form(w, "okta")
	seen, after = w.goTo(idp, p.want("way to the provider", w.post(path, form), 200))
	if p.want("connected, but for the control plane, which is not there", after, 503); seen.Get("claims") != claims {
		t.Errorf("the next login asks for %v", seen)
	}
	if got := resolve(); !strings.Contains(got, "Bearer canary-exchanged") {
		t.Errorf("a strong login: %s", got)
	}
	if asked != 2 {
		t.Errorf("the provider was asked %d times", asked)
	}
	w.secrets["canary-policy"], w.secrets["canary-exchanged"] = "claims challenge", "exchanged token"
	for secret, what := range w.secrets {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log has the %s", what)
		}
	}
}
