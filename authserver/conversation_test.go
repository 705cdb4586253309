// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	talkPassword = "correct horse battery staple"
	talkWrong    = "wrong horse battery staple"
	talkCallback = "https://client.example/cb"
	talkResource = "https://gw.example.com/v1/mcp/eng"
	talkVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	authorizeTo  = "/api/auth/oauth2/authorize?"
	consentTo    = "/api/auth/oauth2/consent"
	tokenTo      = "/api/auth/oauth2/token"
)

// person is a client and who sits before it.
type person struct {
	*town
	id, secret string // of the client
}

func (p person) basic() []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(p.id+":"+p.secret))}
}

func (p person) ask(changes ...string) url.Values {
	v := url.Values{
		"client_id": {p.id}, "redirect_uri": {talkCallback}, "response_type": {"code"}, "state": {"st"}, "resource": {talkResource},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	for pair := range slices.Chunk(changes, 2) {
		v.Set(pair[0], pair[1])
	}
	return v
}

// want fails the conversation unless an answer has a status.
func (p person) want(what string, r reply, status int) reply {
	p.t.Helper()
	if r.status != status {
		p.t.Fatalf("%s: %d, want %d: %v %s", what, r.status, status, r.header, r.body)
	}
	return r
}

// enroll gets a client with a secret, after one registration that is refused.
func enroll(w *town) person {
	w.t.Helper()
	const to = "/api/auth/oauth2/register"
	body := `{"client_name":"Talker","redirect_uris":["` + talkCallback + `"],"token_endpoint_auth_method":"client_secret_basic"}`
	p := person{town: w}
	p.want("bad registration", w.send("POST", w.issuer+to, `{"redirect_uris":["javascript:x"]}`, "Content-Type", "application/json"), 400)
	a := p.want("registration", w.send("POST", w.issuer+to, body, "Content-Type", "application/json"), 201)
	p.id, p.secret = a.member(w, "client_id", ""), a.member(w, "client_secret", "client secret")
	return p
}

// logIn goes from the authorization request to the consent page, with a wrong password on the way.
func (p person) logIn() reply {
	p.t.Helper()
	request := p.want("authorize", p.get(authorizeTo+p.ask().Encode()), 303).query(p.town).Get("request")
	p.town.secret("request", request)
	f := p.want("login page", p.get("/login?request="+request), 200).form(p.town, "password")
	f.Set("email", "ada@example.com")
	f.Set("password", talkWrong)
	f = p.want("wrong password", p.post("/login/password", f), 400).form(p.town, "password")
	f.Set("email", "ada@example.com")
	f.Set("password", talkPassword)
	p.want("login", p.post("/login/password", f), 303)
	return p.want("consent page", p.get(consentTo+"?request="+request), 200)
}

// decide answers a consent page and returns the code, if there is one.
func (p person) decide(page reply, decision string) string {
	p.t.Helper()
	f := page.form(p.town, "decision")
	f.Set("decision", decision)
	q := p.want(decision, p.post(consentTo, f), 303).query(p.town)
	p.town.secret("code", q.Get("code"))
	return q.Get("code")
}

// again goes from the authorization request to its answer, for who is logged in.
func (p person) again(changes ...string) reply {
	p.t.Helper()
	request := p.want("authorize", p.get(authorizeTo+p.ask(changes...).Encode()), 303).query(p.town).Get("request")
	p.town.secret("request", request)
	return p.get(consentTo + "?request=" + request)
}

func (p person) redeem(code, verifier string) reply {
	return p.post(tokenTo, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {talkCallback}, "code_verifier": {verifier}}, p.basic()...)
}

func (p person) renew(token string) reply {
	return p.post(tokenTo, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, p.basic()...)
}

// tokens remembers the tokens of an answer.
func (p person) tokens(what string, r reply) (access, refresh string) {
	p.t.Helper()
	p.want(what, r, 200)
	access = r.member(p.town, "access_token", "access token")
	parts := strings.Split(access, ".")
	p.town.secret("signature of an access token", parts[2])
	p.town.secret("claims of an access token", parts[1])
	return access, r.member(p.town, "refresh_token", "refresh token")
}

// talk is the whole conversation of a client, a person and a node with the authserver, with its mistakes.
func talk(w *town) {
	w.t.Helper()
	w.secrets[talkPassword], w.secrets[talkWrong], w.secrets["ada@example.com"] = "password", "wrong password", "e-mail address"
	w.secrets[talkVerifier] = "code verifier"
	setPassword := func(role ident.Role, password string) reply {
		return w.asRole(role, "/penstock.credential.v1.CredentialService/SetPassword", "application/json", `{"userUid":"uid-ada","password":"`+password+`"}`)
	}
	p := enroll(w)
	p.want("password by a node", setPassword(ident.RoleNode, talkPassword), 403)
	p.want("password", setPassword(ident.RoleControlPlane, talkPassword), 200)

	code := p.decide(p.logIn(), "allow")
	wrong := p
	wrong.secret = "psc_" + strings.Repeat("w", 49)
	w.secret("wrong client secret", wrong.secret)
	p.want("wrong secret", wrong.redeem(code, talkVerifier), 401)
	p.want("wrong verifier", p.redeem(code, strings.Repeat("v", 43)), 400)
	access, refresh := p.tokens("redeem", p.redeem(code, talkVerifier))
	_, second := p.tokens("refresh", p.renew(refresh))
	a := w.asRole(ident.RoleNode, "/api/auth/oauth2/introspect", "application/x-www-form-urlencoded", url.Values{"token": {access}}.Encode())
	if p.want("introspection", a, 200); !strings.HasPrefix(a.body, `{"active":true`) {
		w.t.Errorf("introspection: %s", a.body)
	}
	p.want("reuse", p.renew(refresh), 400) // the grace is off
	p.want("family over", p.renew(second), 400)

	code = p.want("repeat", p.again(), 303).query(w).Get("code")
	w.secret("code", code)
	access, refresh = p.tokens("redeem", p.redeem(code, talkVerifier))
	for _, token := range []string{access, refresh} {
		p.want("revoke", p.post("/api/auth/oauth2/revoke", url.Values{"token": {token}}, p.basic()...), 200)
	}
	p.want("replay", p.redeem(code, talkVerifier), 400)
	p.want("no access", p.again("resource", "https://gw.example.com/v1/mcp/support"), 303)
	if code := p.decide(p.want("asked again", p.again("prompt", "consent"), 200), "deny"); code != "" {
		w.t.Error("a code in spite of the no")
	}
	p.want("document of nobody we know", p.get(authorizeTo+p.ask("client_id", "https://evil.example/c.json").Encode()), 403)

	f := p.want("account", p.get("/account"), 200).form(w, p.id)
	p.want("taken back", p.post("/account/revoke", f), 303)
	p.want("log out", p.post("/logout", p.get("/account").form(w, "/logout")), 200)
	kid := activeKey(w)
	w.must(w.a.keys.Revoke(w.t.Context(), kid))
	p.want("password removed", setPassword(ident.RoleControlPlane, ""), 200)
}

func activeKey(w *town) string {
	w.t.Helper()
	list, err := w.db.SigningKeys(w.t.Context())
	w.must(err)
	i := slices.IndexFunc(list, func(k store.SigningKey) bool { return k.State == store.KeyActive })
	return list[i].ID
}

// SE-4, AU-4, SE-1: after a whole conversation no secret of it is in logs, spans, metrics, audit, export or database.
func TestConversationLeavesNoSecret(t *testing.T) {
	w := newTown(t)
	talk(w)
	for _, what := range []string{"code", "refresh token", "client secret", "CSRF token", "request", "cookie penstock-login", "cookie penstock-browser", "cookie penstock-request"} {
		if !slices.Contains(values(w.secrets), what) {
			t.Errorf("no %s was seen", what)
		}
	}
	page := httptest.NewRecorder()
	w.meters.ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	spans, err := json.Marshal(w.spans.GetSpans())
	if err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	w.must(ExportAudit(t.Context(), Settings{Database: obs.Secret("sqlite://" + filepath.Join(w.dir, "authserver.db"))}, &export))
	places := map[string]string{
		"log": w.log.String(), "spans": fmt.Sprintf("%s%+v", spans, w.spans.GetSpans()), "metrics": page.Body.String(), "audit": export.String(),
	}
	for name, sign := range map[string]string{"log": `"request answered"`, "spans": "set_password", "metrics": obs.MetricRouterRequests, "audit": `"token.issued"`} {
		if !strings.Contains(places[name], sign) {
			t.Errorf("nothing is in the %s: %.500s", name, places[name])
		}
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "authserver.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database (%v)", err)
	}
	stored := false
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		places[filepath.Base(file)] = string(raw)
		stored = stored || strings.Contains(string(raw), "dcr_")
	}
	if !stored {
		t.Error("the database has no client: these are other files")
	}
	for place, text := range places {
		for value, what := range w.secrets {
			for form, one := range map[string]string{"": value, ", escaped": url.QueryEscape(value), ", in base64": base64.StdEncoding.EncodeToString([]byte(value))} {
				if strings.Contains(text, one) {
					t.Errorf("the %s%s is in the %s", what, form, place)
				}
			}
		}
	}
}

func values(m map[string]string) []string {
	var list []string
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

var requestID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// AU-1 to AU-3: each event that a conversation is made of, with its fields. What a conversation with another server needs is
// checked where that server is: cimd.fetched, jwks.refreshed and jwks.failed in clients, login.issuer_mismatch in login.
func TestConversationIsAudited(t *testing.T) {
	w := newTown(t)
	talk(w)
	records, err := w.db.Audit(t.Context(), 0, 1000)
	w.must(err)
	if _, err := store.VerifyAudit(store.AuditRecord{}, records); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string][]store.Event)
	for _, r := range records {
		if r.Event.ActorType == string(ident.RoleNode) {
			continue // a node has neither browser nor client; what it is denied is checked where that is: TestRelease
		}
		seen[r.Event.Action+" "+r.Event.Result] = append(seen[r.Event.Action+" "+r.Event.Result], r.Event)
	}
	const http, actor, client, target, reason, gid = 1, 2, 4, 8, 16, 32 // fields that have to be there
	for name, fields := range map[string]int{
		"client.registered ok": http | client, "client.refused refused": http | reason, "cimd.refused refused": http | client | reason,
		"login.ok ok": http | actor, "login.failed refused": http | actor | reason, "login.ended ok": http | actor,
		"consent.granted ok": http | actor | client | target, "consent.denied refused": http | actor | client | target,
		"consent.revoked ok": http | actor | client | target, "access.denied refused": http | actor | client | target | reason,
		"code.issued ok": http | actor | client | target | gid, "code.redeemed ok": http | actor | client | target | gid,
		"code.replayed refused": http | actor | client | target | gid | reason, "token.issued ok": http | actor | client | target | gid,
		"token.issued refused": http | client | reason, "token.refreshed ok": http | actor | client | target | gid,
		"token.refreshed refused": http | client | reason, "token.revoked ok": http | actor | client | gid,
		"refresh.reuse_detected refused": http | actor | client | target | gid | reason,
		"key.rotated ok":                 target | reason, "password.set ok": target, "password.removed ok": target, "authorize.refused refused": http | client | reason,
	} {
		list := seen[name]
		if len(list) == 0 {
			t.Errorf("no event %s", name)
		}
		for _, e := range list {
			for bit, there := range map[int]bool{
				http:  requestID.MatchString(e.RequestID) && e.IP == "127.0.0.1" && e.UserAgent == "Conversation/1",
				actor: e.Actor != "" && e.ActorType != "", client: e.Client != "", target: e.Target != "", reason: e.Reason != "", gid: len(e.Grant) == 64,
			} {
				if fields&bit != 0 && !there {
					t.Errorf("%s lacks field %d: %+v", name, bit, e)
				}
			}
			if e.Time.IsZero() {
				t.Errorf("%s has no time", name)
			}
		}
	}
	if t.Failed() {
		for name := range seen {
			t.Log(name, len(seen[name]))
		}
	}
}

// AU-6: the number that a person is shown is that of the refusal's event, on pages and in JSON.
func TestShownNumberIsRecorded(t *testing.T) {
	w := newTown(t)
	last := func() store.Event {
		records, err := w.db.Audit(t.Context(), 0, 1000)
		w.must(err)
		return records[len(records)-1].Event
	}
	for name, a := range map[string]func() reply{
		"unknown client": func() reply { return w.get(authorizeTo + "client_id=nobody") },
		"foreign login":  func() reply { return w.post("/login/password", url.Values{"csrf": {"x"}}) },
		"unknown state":  func() reply { return w.get("/login/callback/okta?state=x&code=y") },
	} {
		page := a()
		id := regexp.MustCompile(`<code>([0-9a-f]{12})</code>`).FindStringSubmatch(page.body)
		if e := last(); id == nil || e.RequestID != id[1] || e.Result != "refused" {
			t.Errorf("%s: shown %v, recorded %+v", name, id, e)
		}
	}
}

// AS-12: each endpoint of the metadata is there.
func TestEndpointsOfMetadata(t *testing.T) {
	w := newTown(t)
	var all map[string]any
	w.must(json.Unmarshal([]byte(w.get("/.well-known/oauth-authorization-server").body), &all))
	found := 0
	for name, value := range all {
		if text, ok := value.(string); ok && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri") {
			found++
			a := w.get(strings.TrimPrefix(text, w.issuer))
			if !strings.HasPrefix(text, w.issuer+"/") || a.status == http.StatusNotFound || a.status >= 500 {
				t.Errorf("%s %s: %d", name, text, a.status)
			}
		}
	}
	if found != 6 {
		t.Errorf("%d endpoints, want 6", found)
	}
}
