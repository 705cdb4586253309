// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// exchanges is the identifiers of the tokens that were exchanged, and of those that were given for them.
type exchanges struct {
	mu    sync.Mutex // guards what follows
	ids   []string
	given map[string]bool
}

func (e *exchanges) of() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ids)
}

// exchangingStorage is the provider's storage with a policy: Penstock may exchange access tokens of anybody for those of crm.
type exchangingStorage struct {
	*jwtStorage

	exchanged *exchanges
}

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage.
func (s exchangingStorage) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	if r.GetClientID() != "penstock" || r.GetExchangeSubjectTokenType() != oidc.AccessTokenType || !slices.Equal(r.GetAudience(), []string{"crm"}) {
		return errors.New("this client may not exchange this token for that")
	}
	s.exchanged.mu.Lock()
	defer s.exchanged.mu.Unlock()
	s.exchanged.ids = append(s.exchanged.ids, r.GetExchangeSubjectTokenIDOrToken())
	return nil
}

// CreateAccessToken implements op.Storage.
func (s exchangingStorage) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, expires, err := s.jwtStorage.CreateAccessToken(ctx, r)
	if _, ok := r.(op.TokenExchangeRequest); ok {
		s.exchanged.mu.Lock()
		defer s.exchanged.mu.Unlock()
		s.exchanged.given[id] = true
	}
	return id, expires, err
}

// SetUserinfoFromToken implements op.Storage: who asks is told which tokens are for crm.
func (s exchangingStorage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	s.exchanged.mu.Lock()
	info.AppendClaims("for_crm", s.exchanged.given[id])
	s.exchanged.mu.Unlock()
	return s.jwtStorage.SetUserinfoFromToken(ctx, info, id, subject, origin)
}

// identityUpstream is a real MCP server that takes tokens of the provider for itself alone, and says whose they are. It remembers what it was sent.
type identityUpstream struct {
	url string

	mu     sync.Mutex // guards tokens
	tokens []string
}

func (u *identityUpstream) seen() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.tokens)
}

type callerKey struct{}

func newIdentityUpstream(t *testing.T, p *identityProvider) *identityUpstream {
	t.Helper()
	u := &identityUpstream{}
	s := server.NewMCPServer("crm", "1", server.WithToolCapabilities(false))
	s.AddTool(mcp.NewTool("whoami", mcp.WithDescription("Says who calls.")), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		who, _ := ctx.Value(callerKey{}).(string)
		return mcp.NewToolResultText(who), nil
	})
	h := server.NewStreamableHTTPServer(s, server.WithEndpointPath("/mcp"), server.WithStateful(true))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		who := ""
		if ok {
			u.mu.Lock()
			if !slices.Contains(u.tokens, token) {
				u.tokens = append(u.tokens, token)
			}
			u.mu.Unlock()
			who = p.whose(r.Context(), token)
		}
		if who == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	}))
	t.Cleanup(func() {
		web.CloseClientConnections() // a node may listen for messages still
		web.Close()
	})
	u.url = web.URL + "/mcp"
	return u
}

// whose asks the provider whose an access token for crm is; empty if it is none.
func (p *identityProvider) whose(ctx context.Context, token string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.issuer()+"/userinfo", http.NoBody)
	if err != nil {
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	var info struct {
		Subject string `json:"sub"`
		ForCRM  bool   `json:"for_crm"`
	}
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&info) != nil || !info.ForCRM {
		return ""
	}
	return info.Subject
}

// unlike says in which way an answer is not what was wanted.
func unlike(what string, got answer, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: status %d: %s", what, got.status, got.body)
}

// connectLink finds the connect link in an answer.
func connectLink(authserver, body string) string {
	return regexp.MustCompile(regexp.QuoteMeta(authserver) + `/connect/[A-Za-z0-9_-]{22}`).FindString(body)
}

// applyArgs applies manifests that refer to the environment, with further arguments.
func (a *alone) applyArgs(env []string, manifests string, args ...string) {
	a.t.Helper()
	file := filepath.Join(a.t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		a.t.Fatal(err)
	}
	o := options{dir: a.home, env: append(env, portOffset(a.offset))}
	if got := run(a.t, o, "penstock", append([]string{"apply", "-f", file}, args...)...); got.code != 0 {
		a.t.Fatalf("apply: exit code %d\n%s\n%s", got.code, got.stderr, manifests)
	}
}

// surfer is somebody's browser, without scripts: it follows redirects and fills in the forms that it is shown.
type surfer struct {
	t      *testing.T
	client *http.Client
}

// shown is a page, and the address that it came from.
type shown struct{ at, text string }

func newSurfer(t *testing.T) *surfer {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &surfer{t, &http.Client{Jar: jar}}
}

func (b *surfer) open(at string) shown {
	b.t.Helper()
	return b.send(http.MethodGet, at, nil)
}

func (b *surfer) send(method, at string, form url.Values) shown {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, at, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return shown{res.Request.URL.String(), string(text)}
}

var (
	actionOf = regexp.MustCompile(`action="([^"]+)"`)
	hiddenOf = regexp.MustCompile(`name="(\w+)" value="([^"]*)"`)
)

// submit sends the form of a page whose action has a text; values is pairs.
func (b *surfer) submit(page shown, action string, values ...string) shown {
	b.t.Helper()
	from, err := url.Parse(page.at)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, part := range strings.Split(page.text, "</form>") {
		m := actionOf.FindStringSubmatch(part)
		if m == nil || !strings.Contains(m[1], action) {
			continue
		}
		form := url.Values{}
		for _, field := range hiddenOf.FindAllStringSubmatch(part, -1) {
			form.Set(field[1], html.UnescapeString(field[2]))
		}
		for pair := range slices.Chunk(values, 2) {
			form.Set(pair[0], pair[1])
		}
		to, err := from.Parse(html.UnescapeString(m[1]))
		if err != nil {
			b.t.Fatal(err)
		}
		return b.send(http.MethodPost, to.String(), form)
	}
	b.t.Fatalf("no form for %s at %s: %s", action, page.at, page.text)
	return shown{}
}

// logIn presses the provider's button on the login page, and logs in there.
func (b *surfer) logIn(page shown, p *identityProvider, who person) shown {
	b.t.Helper()
	return b.enter(b.submit(page, "/login/provider/"), p, who)
}

// leads returns where a page leads on to at the provider, empty if it does not.
func (page shown) leads(p *identityProvider) string {
	m := regexp.MustCompile(`href="(` + regexp.QuoteMeta(p.issuer()) + `/[^"]+)"`).FindStringSubmatch(page.text)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// enter goes on to the provider and fills in its login page.
func (b *surfer) enter(page shown, p *identityProvider, who person) shown {
	b.t.Helper()
	if to := page.leads(p); to != "" {
		page = b.open(to)
	}
	if !strings.HasPrefix(page.at, p.issuer()) {
		b.t.Fatalf("not at the provider but at %s: %s", page.at, page.text)
	}
	return b.submit(page, "/login/username", "username", who.Username, "password", who.Password)
}

// connect goes through the connect page, and once more through the provider if it is sent there.
func (b *surfer) connect(page shown, p *identityProvider, who person) shown {
	b.t.Helper()
	next := b.submit(page, "/connect/")
	if strings.HasPrefix(next.at, p.issuer()) || next.leads(p) != "" {
		next = b.enter(next, p, who)
	}
	return next
}
