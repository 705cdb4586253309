// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// walked is what a browser did with an authorization URL.
type walked struct {
	Ended string   // address
	Seen  []string // text of every page
	Kept  []string // values of the cookies that the browser has
}

// last is the text of the page that the browser stayed at.
func (w walked) last() string { return w.Seen[len(w.Seen)-1] }

// walk has the person in a file do something at the browser and returns what was printed; see clients/oauth/walk.mjs.
func walk(t *testing.T, user string, args ...string) string {
	t.Helper()
	return walkWith(t, []string{"OAUTH_USER=" + user}, args...)
}

func walkWith(t *testing.T, env []string, args ...string) string {
	t.Helper()
	o := options{dir: t.TempDir(), env: append(env, "HOME="+t.TempDir())}
	p := start(t, o, nodeProgram(t), append([]string{clientFile(t, "oauth/walk.mjs")}, args...)...)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatalf("the browser has not ended: %s", p.stderr.tail())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the browser: exit code %d: %s", code, p.stderr.tail())
	}
	return strings.TrimSpace(p.stdout.String())
}

// walkAll has a person open authorization URLs, one after the other in one browser; provider is the button to press, empty for a
// password kept here.
func walkAll(t *testing.T, who person, provider string, urls ...string) []walked {
	t.Helper()
	var all []walked
	for line := range strings.Lines(walkWith(t, []string{"OAUTH_USER=" + who.file(t), "OAUTH_PROVIDER=" + provider}, urls...)) {
		var w walked
		if err := json.Unmarshal([]byte(line), &w); err != nil || len(w.Seen) == 0 {
			t.Fatalf("the browser printed %q: %v", line, err)
		}
		all = append(all, w)
	}
	if len(all) != len(urls) {
		t.Fatalf("the browser opened %d of %d addresses", len(all), len(urls))
	}
	return all
}

// openLink has a person open the link that a call was answered with and give what it asks for, values typed or a grant, and wants that
// it is done.
func openLink(t *testing.T, who person, link string, typed ...string) walked {
	t.Helper()
	w := followLink(t, who, link, typed...)
	if !strings.Contains(w.last(), "Connected. Go back to your client") {
		t.Fatalf("the browser ended at %s: %s", w.Ended, strings.Join(w.Seen, "\n----\n"))
	}
	return w
}

// followLink is [openLink] wherever it ends.
func followLink(t *testing.T, who person, link string, typed ...string) (w walked) {
	t.Helper()
	values, err := json.Marshal(append([]string{}, typed...))
	if err != nil {
		t.Fatal(err)
	}
	printed := walkWith(t, []string{"OAUTH_USER=" + who.file(t), "OAUTH_TYPED=" + string(values)}, "--connect", link)
	if err := json.Unmarshal([]byte(printed), &w); err != nil || len(w.Seen) == 0 {
		t.Fatalf("the browser printed %q: %v", printed, err)
	}
	return w
}

// oauthClient is a public client that registered itself, with what it was told of the issuer. It writes requests by hand, so
// that a test sees each token and each refusal.
type oauthClient struct {
	t        *testing.T
	gateway  string
	id       string
	callback *httptest.Server
	metadata struct {
		Issuer        string
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Registration  string `json:"registration_endpoint"`
		JWKS          string `json:"jwks_uri"`
	}
}

// attempt is one authorization request.
type attempt struct{ url, verifier, state string }

// tokens is the answer of the token endpoint.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string
}

// registerClient finds the issuer of a gateway, as clients do, and registers.
func registerClient(t *testing.T, gateway string) *oauthClient {
	t.Helper()
	c := &oauthClient{t: t, gateway: gateway, callback: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("You can close this page."))
	}))}
	t.Cleanup(c.callback.Close)
	u, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	var resource struct {
		Resource string
		Servers  []string `json:"authorization_servers"`
	}
	c.document(u.Scheme+"://"+u.Host+"/.well-known/oauth-protected-resource"+u.Path, &resource)
	if resource.Resource != gateway || len(resource.Servers) != 1 {
		t.Fatalf("the metadata of the resource are %+v", resource)
	}
	c.document(resource.Servers[0]+"/.well-known/oauth-authorization-server", &c.metadata)
	var registered struct {
		ID string `json:"client_id"`
	}
	body, err := json.Marshal(map[string]any{
		"client_name": "e2e load", "redirect_uris": []string{c.callback.URL + "/callback"}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := c.post(c.metadata.Registration, "application/json", body, &registered)
	if err != nil || status != http.StatusCreated || registered.ID == "" {
		t.Fatalf("register: status %d, %v", status, err)
	}
	c.id = registered.ID
	return c
}

func (c *oauthClient) document(url string, into any) {
	c.t.Helper()
	body := ""
	eventually(c.t, startTimeout, func() error { // a node that started before the authserver looks for it again every 5 s
		status := 0
		if status, body = get(c.t, url); status != http.StatusOK {
			return fmt.Errorf("%s: status %d: %s", url, status, body)
		}
		return nil
	})
	if err := json.Unmarshal([]byte(body), into); err != nil {
		c.t.Fatalf("%s: %v", url, err)
	}
}

func (c *oauthClient) post(url, kind string, body []byte, into any) (int, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", kind)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // read to the end
	return res.StatusCode, json.NewDecoder(res.Body).Decode(into)
}

// attempt makes an authorization request.
func (c *oauthClient) attempt() attempt {
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	a := attempt{verifier: verifier, state: rand.Text()}
	a.url = c.metadata.Authorization + "?" + url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {c.callback.URL + "/callback"}, "state": {a.state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "resource": {c.gateway},
	}.Encode()
	return a
}

// answer returns the parameters that the browser brought to the callback.
func (c *oauthClient) answer(a attempt, w walked) url.Values {
	c.t.Helper()
	u, err := url.Parse(w.Ended)
	if err != nil || !strings.HasPrefix(w.Ended, c.callback.URL) {
		c.t.Fatalf("the browser ended at %s: %s", w.Ended, w.last())
	}
	q := u.Query()
	if q.Get("state") != a.state || q.Get("iss") != c.metadata.Issuer {
		c.t.Fatalf("the callback got state %q and iss %q", q.Get("state"), q.Get("iss"))
	}
	return q
}

// redeem exchanges the code that the browser brought.
func (c *oauthClient) redeem(a attempt, w walked) tokens {
	c.t.Helper()
	got, err := c.token(url.Values{
		"grant_type": {"authorization_code"}, "code": {c.answer(a, w).Get("code")}, "code_verifier": {a.verifier},
		"redirect_uri": {c.callback.URL + "/callback"},
	})
	if err != nil || got.Access == "" || got.Refresh == "" {
		c.t.Fatalf("exchange the code: %q, %v", got.Error, err)
	}
	return got
}

// refresh exchanges a refresh token.
func (c *oauthClient) refresh(t tokens) (tokens, error) {
	return c.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.Refresh}})
}

func (c *oauthClient) token(form url.Values) (got tokens, err error) {
	form.Set("client_id", c.id)
	_, err = c.post(c.metadata.Token, "application/x-www-form-urlencoded", []byte(form.Encode()), &got)
	return got, err
}

// caller calls the gateway with a token.
func (c *oauthClient) caller(t tokens) caller { return caller{url: c.gateway, token: t.Access} }

// kid is the key that signed a token.
func (t tokens) kid() string {
	var header struct{ Kid string }
	first, _, _ := strings.Cut(t.Access, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || json.Unmarshal(text, &header) != nil {
		return ""
	}
	return header.Kid
}
