// SPDX-License-Identifier: Apache-2.0

package register_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/clients/register"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
)

const day = 24 * time.Hour

// kit is a registration endpoint with a real store and limiter.
type kit struct {
	http.Handler
	store *sqlstore.Store
	log   *bytes.Buffer

	mu  sync.Mutex
	now time.Time
}

func (k *kit) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func newKit(t *testing.T, change ...func(*register.Config)) *kit {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	k := &kit{store: s, log: &bytes.Buffer{}, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	limiter, err := limit.New(limit.Config{Now: k.clock})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := redirect.NewRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := register.Config{
		Store: s, Limiter: limiter, Mode: register.Open, Redirects: rules, Scopes: func() []string { return []string{"mcp", "read"} },
		TTL: 30 * day, MaxUnused: 1000, Now: k.clock, Logger: slog.New(slog.NewJSONHandler(k.log, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	if k.Handler, err = register.New(c); err != nil {
		t.Fatal(err)
	}
	return k
}

// answer is that of a registration.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (a answer) list(name string) []string {
	var list []string
	items, _ := a.body[name].([]any)
	for _, v := range items {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// post registers with a body, as application/json unless a header says otherwise.
func (k *kit) post(t *testing.T, body string, header ...string) answer {
	t.Helper()
	ctx := reqctx.With(t.Context(), reqctx.Info{ID: "3f9c1a0b7e42", IP: netip.MustParseAddr("192.0.2.7")})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/auth/oauth2/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
		t.Fatalf("%d %q: %v", w.Code, a.text, err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got Content-Type %q", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q", got)
	}
	return a
}

func (k *kit) events(t *testing.T) []string {
	t.Helper()
	records, err := k.store.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range records {
		if r.Event.RequestID != "3f9c1a0b7e42" || r.Event.IP != "192.0.2.7" {
			t.Errorf("event %+v tells nothing of its request", r.Event)
		}
		list = append(list, strings.TrimSpace(r.Event.Action+" "+r.Event.Reason))
	}
	return list
}

// The registrations of real clients (auth.md §1). All of them succeed where the mode is open, and all but the ones with a
// host of their own where it is allow_listed.
func TestRegistrationsOfRealClients(t *testing.T) {
	files, err := filepath.Glob("../testdata/registrations/*.json")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d fixtures (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var asked struct {
				Name      string   `json:"client_name"`
				Redirects []string `json:"redirect_uris"`
				Method    string   `json:"token_endpoint_auth_method"`
			}
			if err := json.Unmarshal(text, &asked); err != nil {
				t.Fatal(err)
			}
			secret := name == "m365-copilot"
			k := newKit(t, func(c *register.Config) { c.Confidential = secret })
			a := k.post(t, string(text))
			if a.status != http.StatusCreated {
				t.Fatalf("%d %s", a.status, a.text)
			}
			id, _ := a.body["client_id"].(string)
			if !strings.HasPrefix(id, register.Prefix) || a.body["client_name"] != asked.Name || a.body["client_id_issued_at"] != float64(k.clock().Unix()) {
				t.Errorf("got %s", a.text)
			}
			if d := cmp.Diff(asked.Redirects, a.list("redirect_uris")); d != "" {
				t.Errorf("redirect_uris:\n%s", d)
			}
			if d := cmp.Diff([]string{"authorization_code", "refresh_token"}, a.list("grant_types")); d != "" {
				t.Errorf("grant_types:\n%s", d)
			}
			want := "none"
			if secret {
				want = "client_secret_post"
			}
			if a.body["token_endpoint_auth_method"] != want || (a.body["client_secret"] != nil) != secret || (a.body["client_secret_expires_at"] != nil) != secret {
				t.Errorf("got %s", a.text)
			}

			own := name == "open-webui" || secret
			listed := newKit(t, func(c *register.Config) { c.Mode, c.Confidential = register.AllowListed, true })
			a = listed.post(t, string(text))
			if (a.status == http.StatusCreated) == own {
				t.Errorf("allow_listed: %d %s", a.status, a.text)
			}
			if own && !strings.Contains(fmt.Sprint(a.body["error_description"]), strings.Split(asked.Redirects[0], "/")[2]) {
				t.Errorf("the refusal does not name the host: %s", a.text)
			}
		})
	}
}

// body is a registration with other members in it.
func body(more string) string { return `{"redirect_uris":["https://c.example/cb"]` + more + `}` }

func uris(list ...string) string {
	text, _ := json.Marshal(map[string]any{"redirect_uris": list})
	return string(text)
}

// auth.md §16, DCR.
func TestRefusals(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	many := make([]string, 11)
	for i := range many {
		many[i] = "https://c.example/" + strconv.Itoa(i)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	const redirectURI, other = "invalid_redirect_uri", "invalid_client_metadata"
	for name, tc := range map[string]struct {
		body   string
		header []string
		status int
		code   string
	}{
		"41 none": {`{}`, nil, 400, redirectURI}, "41 empty": {uris(), nil, 400, redirectURI},
		"43 javascript": {uris("javascript:alert(1)"), nil, 400, redirectURI}, "43 data": {uris("data:text/html,x"), nil, 400, redirectURI},
		"44 http": {uris("http://example.com/cb"), nil, 400, redirectURI}, "44 private address": {uris("http://192.168.1.1/cb"), nil, 400, redirectURI},
		"46": {uris("evilapp://cb"), nil, 400, redirectURI}, "one bad of two": {uris("https://c.example/cb", "evilapp://cb"), nil, 400, redirectURI},
		"11 URIs": {uris(many...), nil, 400, redirectURI}, "long URI": {uris("https://c.example/" + strings.Repeat("a", 2048)), nil, 400, redirectURI},
		"fragment": {uris("https://c.example/cb#"), nil, 400, redirectURI}, "a text": {`{"redirect_uris":"https://c.example/cb"}`, nil, 400, redirectURI},
		"49 client_credentials": {body(`,"grant_types":["client_credentials"]`), nil, 400, other}, "49 implicit": {body(`,"grant_types":["implicit"]`), nil, 400, other},
		"refresh_token alone": {body(`,"grant_types":["refresh_token"]`), nil, 400, other}, "response_types": {body(`,"response_types":["token"]`), nil, 400, other},
		"52": {body(""), form, 400, other}, "no Content-Type": {body(""), []string{"Content-Type", ""}, 400, other},
		"53 65 KiB":  {body(`,"x":"` + strings.Repeat("a", 65<<10) + `"`), nil, 413, other},
		"53 depth":   {body(`,"x":` + deep), nil, 400, other},
		"53 twice":   {body(`,"client_name":"a","client_name":"b"`), nil, 400, other},
		"56":         {body(`,"jwks_uri":"http://169.254.169.254/"`), nil, 400, other},
		"56 https":   {body(`,"jwks_uri":"https://169.254.169.254/"`), nil, 400, other},
		"http keys":  {body(`,"jwks_uri":"http://c.example/j"`), nil, 400, other},
		"no keys":    {body(`,"token_endpoint_auth_method":"private_key_jwt"`), nil, 400, other},
		"REG-5 post": {body(`,"token_endpoint_auth_method":"client_secret_post"`), nil, 400, other}, "REG-5 basic": {body(`,"token_endpoint_auth_method":"client_secret_basic"`), nil, 400, other},
		"method": {body(`,"token_endpoint_auth_method":"tls_client_auth"`), nil, 400, other}, "long name": {body(`,"client_name":"` + strings.Repeat("a", 257) + `"`), nil, 400, other},
		"long scope": {body(`,"scope":"` + strings.Repeat("a", 1025) + `"`), nil, 400, other}, "REG-13": {body(`,"software_statement":"a.b.c"`), nil, 400, "unapproved_software_statement"},
		"no JSON": {`redirect_uris=x`, nil, 400, other}, "array": {`[]`, nil, 400, other}, "empty": {``, nil, 400, other},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			a := k.post(t, tc.body, tc.header...)
			if a.status != tc.status || a.body["error"] != tc.code {
				t.Errorf("got %d %s, want %d %s", a.status, a.text, tc.status, tc.code)
			}
			text, _ := a.body["error_description"].(string)
			if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("got error_description %q", text)
			}
			if got := k.events(t); !slices.Equal(got, []string{"client.refused " + tc.code}) {
				t.Errorf("got events %q", got)
			}
			if !strings.Contains(k.log.String(), "client registration refused") {
				t.Error("the refusal is not logged")
			}
			if n, err := k.store.UnusedClients(t.Context()); n != 0 || err != nil {
				t.Errorf("%d clients are stored (%v)", n, err)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want map[string]any // members of the answer; nil for one that is not there
	}{
		"REG-4":        {body(""), map[string]any{"token_endpoint_auth_method": "none", "client_secret": nil, "client_name": nil, "scope": nil}},
		"REG-2":        {body(`,"resource":"x","application_type":"native","unknown":{"a":[1]}`), map[string]any{"resource": nil, "unknown": nil}},
		"50":           {body(`,"grant_types":["urn:ietf:params:oauth:grant-type:device_code","authorization_code"]`), map[string]any{"grant_types": []any{"authorization_code"}}},
		"REG-10":       {body(`,"scope":"openid read mcp"`), map[string]any{"scope": "read mcp"}},
		"no scope":     {body(`,"scope":"openid"`), map[string]any{"scope": nil}},
		"own id":       {body(`,"client_id":"https://evil.example/c.json","client_secret":"x"`), map[string]any{"client_secret": nil}},
		"keys":         {body(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://c.example/j"`), map[string]any{"jwks_uri": "https://c.example/j", "client_secret": nil}},
		"same twice":   {uris("https://c.example/cb", "https://c.example/cb"), map[string]any{"redirect_uris": []any{"https://c.example/cb"}}},
		"software":     {body(`,"software_id":"s","software_version":"1"`), map[string]any{"software_id": "s", "software_version": "1"}},
		"name escapes": {body(`,"client_name":"<script>"`), map[string]any{"client_name": "<script>"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			a := k.post(t, tc.body, "Content-Type", "application/json; charset=utf-8")
			if a.status != http.StatusCreated {
				t.Fatalf("%d %s", a.status, a.text)
			}
			for member, want := range tc.want {
				if d := cmp.Diff(want, a.body[member]); d != "" {
					t.Errorf("%s:\n%s", member, d)
				}
			}
			if id, _ := a.body["client_id"].(string); !strings.HasPrefix(id, register.Prefix) {
				t.Errorf("got client_id %q", id)
			}
			if got := k.events(t); !slices.Equal(got, []string{"client.registered"}) {
				t.Errorf("got events %q", got)
			}
		})
	}
}
