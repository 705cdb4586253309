// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

const linkTo = "/penstock.credential.v1.CredentialService/CreateConnectLink"

// github is a server that people connect themselves, and Bob.
func github(s state) {
	s[node.Key{Kind: "server", Name: "github"}] = &distributionv1.Resource{Kind: "server", Name: "github", Body: &distributionv1.Resource_Server{
		Server: &resourcev1.Server{
			Name: "github", Uid: "uid-github", DisplayName: "GitHub",
			Transport:  &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://mcp.github.example/mcp"}},
			Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticHeaders{StaticHeaders: &resourcev1.StaticHeaders{}}},
		},
	}}
	s.Range("gateway", func(r *distributionv1.Resource) bool {
		r.GetGateway().Regions = []string{"eu"}
		return true
	})
}

// EL-4, KM-7: a node of the gateway's region gets a link; its person logs in on the way to the page; without a control plane
// nothing is stored and the link stays good. Neither link nor credential is in a log or in the database in clear.
func TestConnectLink(t *testing.T) {
	w := newTown(t, github)
	w.must(w.a.SetPassword(t.Context(), "uid-ada", talkPassword))
	create := func(region, body string) reply {
		return w.send(http.MethodPost, w.inside+linkTo, body, "Content-Type", "application/json", "Test-Role", string(ident.RoleNode), "Test-Region", region)
	}
	const ask = `{"userUid":"uid-ada","server":"github","clientId":"https://claude.ai/c.json","gateway":"eng"}`
	for _, tt := range []struct {
		name, region, body, reason string
		status                     int
	}{
		{"another region", "us", ask, "GATEWAY_OUT_OF_SCOPE", 403},
		{"no such gateway", "eu", strings.Replace(ask, "eng", "none", 1), "GATEWAY_OUT_OF_SCOPE", 403},
		{"no such user", "eu", strings.Replace(ask, "uid-ada", "uid-none", 1), "PRINCIPAL_UNKNOWN", 403},
		{"no such server", "eu", strings.Replace(ask, "github", "none", 1), "SERVER_UNKNOWN", 404},
	} {
		// The reason is in a detail, in base64; the sentences differ.
		if got := create(tt.region, tt.body); got.status != tt.status {
			t.Errorf("%s: %d %s, want %d %s", tt.name, got.status, got.body, tt.status, tt.reason)
		}
	}
	// A control plane asks for a person who called nothing: it names no gateway.
	asked := strings.Replace(ask, `,"gateway":"eng"`, "", 1)
	for _, tt := range []struct {
		name, body string
		status     int
	}{
		{"a gateway", ask, 400},
		{"no such user", strings.Replace(asked, "uid-ada", "uid-none", 1), 403},
		{"no such server", strings.Replace(asked, "github", "none", 1), 404},
	} {
		if got := w.asRole(ident.RoleControlPlane, linkTo, "application/json", tt.body); got.status != tt.status {
			t.Errorf("control plane, %s: %d %s, want %d", tt.name, got.status, got.body, tt.status)
		}
	}
	if got := create("eu", asked); got.status != 400 {
		t.Errorf("a node that names no gateway: %d %s", got.status, got.body)
	}
	mine := w.asRole(ident.RoleControlPlane, linkTo, "application/json", asked)
	own, ok := strings.CutPrefix(mine.member(w, "url", ""), w.issuer+"/connect/")
	if mine.status != 200 || !ok {
		t.Fatalf("link of a control plane: %d %s", mine.status, mine.body)
	}
	w.secret("link of a control plane", own)
	made := create("eu", ask)
	path, ok := strings.CutPrefix(made.member(w, "url", ""), w.issuer)
	if made.status != 200 || !ok {
		t.Fatalf("link: %d %s", made.status, made.body)
	}
	w.secret("link", strings.TrimPrefix(path, "/connect/"))
	p := person{town: w}
	to := p.want("link", w.get(path), 303).header.Get("Location")
	f := p.want("login", w.get(to), 200).form(w, "password")
	f.Set("email", "ada@example.com")
	f.Set("password", talkPassword)
	if to = p.want("password", w.post("/login/password", f), 303).header.Get("Location"); to != path {
		t.Fatalf("the login leads to %s, want %s", to, path)
	}
	page := p.want("page", w.get(path), 200)
	const credential = "Bearer canary-88d1-of-the-upstream"
	for range 2 {
		f = page.form(w, "header0")
		f.Set("header0", credential)
		p.want("credential", w.post(path, f), 503)
	}
	w.secrets[credential], w.secrets[talkPassword] = "credential", "password"
	files, err := filepath.Glob(filepath.Join(w.dir, "*"))
	w.must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a folder
		}
		for secret, what := range w.secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s has the %s", filepath.Base(file), what)
			}
		}
	}
	for secret, what := range w.secrets {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log has the %s", what)
		}
	}
}
