// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/authn"
	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/issuer"
	"github.com/penstockhq/penstock/dataplane/internal/limit"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// The symbols of auth.md.
const (
	rsIssuer = "https://auth.example.com"
	rsOrigin = "https://gw.example.com"
	rsRA     = rsOrigin + "/v1/mcp/eng"
	rsRB     = rsOrigin + "/v1/mcp/support"
	rsClient = "https://client.example/oauth/c.json"
	rsServer = `{"issuer":"` + rsIssuer + `", "code_challenge_methods_supported":["S256"]}` + "\n"
)

// rsWorld is a node as a resource server, with an authserver's key and an MCP server behind it. All of it is real but the
// authserver, of which a node sees documents and tokens only; it runs in fake time.
type rsWorld struct {
	t      *testing.T
	node   *relayed
	authn  *authn.Authenticator
	limits *limit.Rates // nil: there are none
	origin *origin
	client *http.Client
	key    *ecdsa.PrivateKey
	kid    string

	stale    atomic.Int64 // time.Duration
	skewed   atomic.Bool
	revision uint64
	failed   atomic.Int64      // renewals of the identity provider's keys
	static   map[string]string // static tokens by name
}

func (w *rsWorld) StaleFor() time.Duration { return time.Duration(w.stale.Load()) }
func (w *rsWorld) Skewed() bool            { return w.skewed.Load() }
func (w *rsWorld) Draining() bool          { return false }

// rsOptions change a world.
type rsOptions struct {
	noCompat bool
	maxStale time.Duration
	log      io.Writer // where the front tells everything, if set
	idp      *rsProvider

	credentials *credential.Client // nil where no server needs one
}

// inRS runs f in a world.
func inRS(t *testing.T, o rsOptions, f func(w *rsWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &rsWorld{t: t, static: make(map[string]string), origin: &origin{t: t, replies: make(chan received, 16)}}
		front, back := newPipes(), newPipes()
		keeper := w.keeper()
		w.node = &relayed{name: "node", credentials: o.credentials}
		w.node.start(t, back.dial, func(n *relayed, c *edge.Config) {
			callers, err := authn.New(authn.Config{
				Now: time.Now, Used: func(string) {}, Failed: func(context.Context, string) {}, Issuer: keeper, Resources: edge.Resources(rsOrigin),
				Providers: w.providers(n.holder, o.idp), StaleFor: w.StaleFor, MaxStale: o.maxStale,
			})
			if err != nil {
				t.Fatal(err)
			}
			w.authn = callers
			c.Authenticator, c.Issuer, c.Health, c.Presented = callers, keeper, w, authn.Presented
			if o.log != nil {
				told := *c.Telemetry
				told.Log, c.Telemetry = slog.New(slog.NewJSONHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug})), &told
			}
			c.Settings.ChatGPTCompat, c.Settings.AllowedOrigins = !o.noCompat, []string{"https://app.example.com"}
		})
		w.publish(func(*view.Builder) {})
		w.origin.answers(func(in *inbound) { in.result(`{"resultType":"complete","content":[]}`) })
		var servers sync.WaitGroup
		run := func(l *pipes, h http.Handler) *http.Server {
			server := &http.Server{Handler: h}
			servers.Go(func() {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			return server
		}
		facing, behind := run(front, w.node.edge), run(back, w.origin)
		transport := &http.Transport{DialContext: front.dial}
		w.client = &http.Client{Transport: transport}
		t.Cleanup(func() {
			transport.CloseIdleConnections()
			if err := errors.Join(facing.Close(), behind.Close()); err != nil {
				t.Error(err)
			}
			servers.Wait()
		})
		f(w)
	})
}

// keeper returns a keeper of the documents of an authserver with a new key.
func (w *rsWorld) keeper() *issuer.Keeper {
	w.t.Helper()
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		w.t.Fatal(err)
	}
	thumb := sha256.Sum256([]byte("the key"))
	w.kid = base64.RawURLEncoding.EncodeToString(thumb[:])
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &w.key.PublicKey, KeyID: w.kid, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := issuer.New(issuer.Config{Log: slog.New(slog.DiscardHandler), Source: func(context.Context) (issuer.Document, error) {
		return issuer.Document{Issuer: rsIssuer, Metadata: []byte(rsServer), JWKS: set}, nil
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	synctest.Wait()
	return k
}

// publish makes a new view: u1 is a member of A only, whose tools are echo, for everybody, and write.
func (w *rsWorld) publish(change func(b *view.Builder)) {
	b := view.From(nil)
	b.PutServer("srv", &view.Server{
		Name: "srv", URL: "http://127.0.0.1/mcp", Protocol: modernVersion, Capabilities: compile.Capabilities{Tools: true},
	})
	b.PutConnection("srv", &view.Connection{Name: "srv", UID: "c-srv", Server: "srv"})
	for _, name := range []string{"u1", "u2", "gone"} {
		b.PutUser(name, &view.User{Name: name, UID: "uid-" + name, Deactivated: name == "gone"})
	}
	b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng", Members: map[string]struct{}{"u1": {}}})
	b.PutTeam("support", &view.Team{Name: "support", UID: "t-support", Members: map[string]struct{}{"u2": {}}})
	tools := func() []*view.Tool {
		write := aTool("srv", "write", `{"name":"write","inputSchema":{"type":"object"}}`)
		write.RequiredScopes = []string{"mcp:write"}
		return []*view.Tool{aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object"}}`), write}
	}
	put := func(g compile.Gateway, tools ...*view.Tool) {
		g.UID = "uid-" + g.Name
		b.PutGateway(&view.Gateway{Gateway: g, Tools: tools})
	}
	eng, all := view.Visibility{Teams: []string{"eng"}}, view.Visibility{Organization: true}
	put(compile.Gateway{Name: "eng", DisplayName: "Engineering", Visibility: eng, OAuth: true, BearerTokens: true}, tools()...)
	put(compile.Gateway{Name: "support", Visibility: view.Visibility{Teams: []string{"support"}}, OAuth: true}, aTool("srv", "echo", `{"name":"echo"}`))
	put(compile.Gateway{Name: "static", Visibility: all, BearerTokens: true}, tools()...)
	put(compile.Gateway{Name: "closed", Visibility: all})
	put(compile.Gateway{Name: "unlisted", Visibility: all, OAuth: true, BearerTokens: true})
	put(compile.Gateway{Name: "managed", Visibility: eng, IDJAG: true}, tools()...)
	put(compile.Gateway{Name: "off", Visibility: all, OAuth: true, Disabled: true})
	put(compile.Gateway{Name: "fresh", Visibility: all, OAuth: true, MaxStale: 5 * time.Minute}, tools()...)
	for _, name := range []string{"u1", "gone", "old"} {
		w.putToken(b, name)
	}
	change(b)
	w.revision++
	w.node.holder.Publish(b.Build("e", w.revision))
}

func (w *rsWorld) putToken(b *view.Builder, name string) {
	text, hash := ident.MintBearer(ident.KindUser)
	w.static[name] = text
	token := &view.Token{
		Name: name, UID: "uid-token-" + name, OwnerKind: compile.OwnerUser, Owner: name, Scopes: []string{"mcp"},
		Gateways: map[string]struct{}{"eng": {}, "static": {}},
	}
	if name == "old" {
		token.Owner, token.Expires = "u1", time.Now()
	}
	b.PutToken(hash, token)
}

// token is an access token of u1 for A that lives for 15 minutes; changes of nil take a claim away, "typ" is of the header.
func (w *rsWorld) token(changes map[string]any) string {
	w.t.Helper()
	claims := map[string]any{
		"iss": rsIssuer, "sub": "uid-u1", "aud": rsRA, "client_id": rsClient, "exp": time.Now().Add(15 * time.Minute).Unix(), "iat": time.Now().Unix(),
		"jti": rand.Text(), "gid": "grant", "scope": "mcp", "pst_method": "oauth", "typ": "at+jwt",
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	typ, _ := claims["typ"].(string)
	delete(claims, "typ")
	options := (&jose.SignerOptions{}).WithHeader("kid", w.kid).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.key}, options)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// rsReply is an answer that was read to its end.
type rsReply struct {
	status int
	header http.Header
	body   string
}

func (r rsReply) challenge() string { return r.header.Get("WWW-Authenticate") }

// open sends a request and returns its answer unread. Headers are "Name: value", without a value to leave one out.
func (w *rsWorld) open(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			r.Header.Del(name)
			continue
		}
		r.Header[http.CanonicalHeaderKey(name)] = append(r.Header[http.CanonicalHeaderKey(name)], value)
		if name == "Accept" {
			r.Header.Set(name, value)
		}
	}
	resp, err := w.client.Transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

func (w *rsWorld) do(method, path, body string, headers ...string) rsReply {
	w.t.Helper()
	resp := w.open(method, path, body, headers...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return rsReply{resp.StatusCode, resp.Header, string(text)}
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// modernCall is a tools/call of 2026-07-28 and its headers.
func modernCall(tool, token string) (body string, headers []string) {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{},"_meta":{` + reserved + `}}}`,
		[]string{"MCP-Protocol-Version: " + modernVersion, "Mcp-Method: tools/call", "Mcp-Name: " + tool, bearer(token)}
}

// call calls a tool at a gateway.
func (w *rsWorld) call(gateway, tool, token string, headers ...string) rsReply {
	w.t.Helper()
	body, own := modernCall(tool, token)
	return w.do("POST", "/v1/mcp/"+gateway, body, append(own, headers...)...)
}

// revoke takes access tokens away.
func (w *rsWorld) revoke(kind view.RevokedKind, name string) {
	w.node.holder.Revoke(time.Now(), []view.Revocation{{
		Kind: kind, Key: sha256.Sum256([]byte(name)), Expires: time.Now().Add(time.Hour), IssuedBefore: time.Now(),
	}})
}
