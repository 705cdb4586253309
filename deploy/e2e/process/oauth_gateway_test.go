// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGatewayInFourSteps makes a gateway as an administrator does with manifests alone: name and visibility, tools,
// authentication, connect. People of its team log in; others do not get in.
func TestGatewayInFourSteps(t *testing.T) {
	a := newAlone(t)
	p := a.startEmpty()
	ada, eve := fourSteps(t, a, nil)
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), ada.Password, eve.Password)
}

// TestOneOrigin is the same once more with authserver and node behind one origin (AS-23), which is https here: a proxy that
// routes by path, and whom the authserver believes where requests come from.
func TestOneOrigin(t *testing.T) {
	a := newAlone(t)
	origin, ca := oneOrigin(t, a.offset)
	p := a.startEmpty("PENSTOCK_MCP_URL="+origin, "PENSTOCK_AUTH_URL="+origin, "PENSTOCK_AUTH_TRUSTED_PROXIES=127.0.0.0/8")
	ada, eve := fourSteps(t, a, []string{"NODE_EXTRA_CA_CERTS=" + ca})

	status, direct := get(t, "http://"+address(8083+a.offset)+"/.well-known/oauth-authorization-server")
	_, node := get(t, "http://"+address(8080+a.offset)+"/.well-known/oauth-authorization-server")
	if status != http.StatusOK || node != direct {
		t.Errorf("the node's metadata are not the authserver's:\n%s\n%s", node, direct)
	}
	var metadata map[string]any
	if err := json.Unmarshal([]byte(direct), &metadata); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"issuer": "", "registration_endpoint": "/api/auth/oauth2/register", "authorization_endpoint": "/api/auth/oauth2/authorize",
		"token_endpoint": "/api/auth/oauth2/token", "jwks_uri": "/api/auth/jwks",
	} {
		if metadata[name] != origin+path {
			t.Errorf("%s is %v, want %s", name, metadata[name], origin+path)
		}
	}
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), ada.Password, eve.Password)
}

// startEmpty starts Penstock without the demo.
func (a *alone) startEmpty(env ...string) *program {
	a.t.Helper()
	p := start(a.t, a.options(append(env, "PENSTOCK_LOG_LEVEL=debug")...), "penstock-standalone")
	p.said(p.stdout, "is running. Ctrl-C stops it.")
	return p
}

// steps are the manifests of the steps of making a gateway; each has what the ones before it have.
func steps(upstream string) []string {
	const first = `
kind: Gateway
name: tools
display_name: Tools of engineering
visibility: {team: {teams: [eng]}}
`
	return []string{first, fmt.Sprintf(`
kind: Server
name: bench
streamable_http: {url: %q}
visibility: {organization: {}}
---
kind: Connection
name: bench
server: bench
owner: {organization: {}}
---`, upstream) + first + `
tools:
- {tool: bench/echo, pinned: {connection: bench}}
`, first + `
tools:
- {tool: bench/echo, pinned: {connection: bench}}
authentication: {oauth: {}}
`}
}

// fourSteps does them, logs in as somebody of the team with the TypeScript SDK, which knows the printed URL alone, and as
// somebody outside of it.
func fourSteps(t *testing.T, a *alone, env []string) (ada, eve person) {
	t.Helper()
	ada = person{Email: "ada@example.com", Password: rand.Text()}
	eve = person{Email: "eve@example.com", Password: rand.Text()}
	a.apply("{kind: User, name: ada@example.com, display_name: Ada}\n---\n{kind: User, name: eve@example.com}\n---\n" +
		"{kind: Team, name: eng, members: [{user: ada@example.com}]}\n")
	a.password(ada)
	a.password(eve)
	for _, manifests := range steps(newUpstream(t, "").URL) {
		a.apply(manifests)
	}
	got := readInstructions(t, a.cli("connect", "tools", "-o", "json"))
	if got.TokenRequired {
		t.Error("connect says that a token is required")
	}
	driveOAuth(t, got.URL, ada.file(t), "ts-v2.mjs", append(env, "MCP_ERA=modern", "OAUTH_TOOL=bench__echo")...)
	driveOAuth(t, got.URL, eve.file(t), "denied.mjs", env...)
	return ada, eve
}

// apply applies manifests as a person does.
func (a *alone) apply(manifests string) {
	a.t.Helper()
	a.applyWith(nil, manifests)
}

// applyWith applies manifests that refer to the environment.
func (a *alone) applyWith(env []string, manifests string) {
	a.t.Helper()
	file := filepath.Join(a.t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		a.t.Fatal(err)
	}
	o := options{dir: a.home, env: append(env, portOffset(a.offset))}
	if got := run(a.t, o, "penstock", "apply", "-f", file, "--discover", "--wait"); got.code != 0 {
		a.t.Fatalf("apply: exit code %d\n%s\n%s", got.code, got.stderr, manifests)
	}
}

// password sets a person's password by the command line, which reads it from standard input.
func (a *alone) password(who person) {
	a.t.Helper()
	setPassword(a.t, options{dir: a.home, env: []string{portOffset(a.offset)}}, who)
}

func setPassword(t *testing.T, o options, who person) {
	t.Helper()
	o.env = append(o.env, "PASSWORD="+who.Password)
	got := run(t, o, "/bin/bash", "-c", `printf %s "$PASSWORD" | "$0" user set-password "$1"`, binary("penstock"), who.Email)
	if got.code != 0 || strings.Contains(got.stdout+got.stderr, who.Password) {
		t.Fatalf("penstock user set-password: exit code %d: %s", got.code, got.stderr)
	}
}

// oneOrigin starts a proxy before the node and the authserver of an offset, and returns its origin and the file of its authority.
func oneOrigin(t *testing.T, offset int) (origin, ca string) {
	t.Helper()
	to := func(port int) http.Handler {
		target := &url.URL{Scheme: "http", Host: address(port + offset)}
		return &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		}}
	}
	mux := http.NewServeMux()
	mux.Handle("/", to(8083))
	node := to(8080)
	mux.Handle("/v1/mcp/", node)
	mux.Handle("/.well-known/oauth-protected-resource/", node)
	certificate, ca := localhostTLS(t)
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections() // a client may hold a stream still
		s.Close()
	})
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	return "https://localhost:" + port, ca
}
