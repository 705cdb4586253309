// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCanary is SE-4 for the whole product: a secret of its own goes into every field that there is for one, through control plane,
// authserver and node, is used, refused and repeated by whom it was given to; the processes log at level debug, push and show
// telemetry, and end with a dump of all they were doing. Then none is found in clear or in a form that anybody can read: in no log, trace,
// metric, audit record, answer, page or file. That the search would find them, the servers they went to show.
func TestCanary(t *testing.T) {
	r := newSecretRun(t)
	r.configure()
	bearer := r.enter()
	r.connect(bearer)
	r.provoke(bearer)
	r.collect()
	r.search()
}

// configure applies all manifests, and makes every token that a command prints.
func (r *secretRun) configure() {
	r.t.Helper()
	r.known.keep(r.t, "token of the administrator", readFile(r.t, r.path("admin.token")))
	env := []string{
		"PROVIDER_SECRET=" + r.as.secret, "TASKS_SECRET=" + r.atProvider["tasks"], "ACCOUNT_SECRET=" + r.atProvider["account"], "EXCHANGER_SECRET=" + r.atProvider["exchanger"], "POLL_TOKEN=" + r.secret("token for polling"), "ADMIN_HEADER=" + r.secret("header of an administrator"),
		"SHARED_HEADER=" + r.secret("header for discovery"), "VARIABLE=" + r.secret("environment of a server"),
		"REFUSED_VARIABLE=" + r.secret("environment of a server that fails"),
	}
	r.apply(env, r.secretManifests("{none: {}}")+"---"+r.gatewayManifest(""))
	r.tasks.open.Store(false)
	r.apply(env, r.secretManifests("{oauth: {client_id: tasks, client_secret: {from_env: TASKS_SECRET}, scopes: [openid, offline_access]}}"))
	setPassword(r.t, options{env: []string{portOffset(r.offset), "PENSTOCK_TOKEN=" + readFile(r.t, r.path("admin.token"))}}, r.ada)
	for what, args := range map[string][]string{
		"token of a user": {"token", "create", "--user", r.ada.Email, "--gateway", "tools"}, "token of a team": {"token", "create", "--team", "eng", "--gateway", "tools"},
		"token of the organisation": {"token", "create", "--organization", "--gateway", "tools"}, "token of a service account": {"token", "create", "--service-account", "robot", "--gateway", "tools"},
		"SCIM token": {"identity-provider", "create-scim-token", "example"}, "client secret of a client": {"oauth-client", "create-secret", "agent"},
	} {
		r.made[what] = r.known.keep(r.t, what, r.must(args...))
	}
	r.must("wait")
}

// call calls a tool, and keeps the answer. Arguments and results are nobody's business either.
func (r *secretRun) call(token, tool string) answer {
	r.t.Helper()
	got, err := caller{url: r.url(), token: token}.tool(r.t.Context(), tool, map[string]any{"message": r.argument})
	if err != nil {
		r.t.Fatal(err)
	}
	r.tell("answers", strings.ReplaceAll(got.body, r.argument, "")+got.challenge)
	return got
}

// works is call, and wants the argument back.
func (r *secretRun) works(what, token, tool string) {
	r.t.Helper()
	if got := r.call(token, tool); got.failed || got.text != r.argument {
		r.t.Fatalf("%s: %d %s", what, got.status, got.body)
	}
}

// tell keeps what was printed or answered somewhere.
func (r *secretRun) tell(where, text string) { r.said[where] += text + "\n" }

// enter uses the gateway in every way, and returns the bearer token of ada.
func (r *secretRun) enter() string {
	t := r.t
	c := registerClient(t, r.url())
	for n, button := range []string{"", "Example Login"} {
		once := c.attempt()
		w := walkAll(t, r.ada, button, once.url)[0]
		r.page(w)
		code := r.known.keep(t, "code of a login", c.answer(once, w).Get("code"))
		r.known.keep(t, "PKCE verifier of a client", once.verifier)
		r.tokens = c.redeem(once, w)
		for range 2 {
			r.known.note("access token", r.tokens.Access)
			r.known.note("refresh token", r.tokens.Refresh)
			r.works("OAuth", r.tokens.Access, "keyed__echo")
			next, err := c.refresh(r.tokens)
			if err != nil || next.Access == "" {
				t.Fatalf("refresh: %v %s", err, next.Error)
			}
			r.tokens = next
		}
		// What is wrong with it is said without it.
		for _, form := range []url.Values{
			{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {once.verifier}, "redirect_uri": {c.callback.URL + "/callback"}, "client_id": {c.id}},
			{"grant_type": {"refresh_token"}, "refresh_token": {r.tokens.Refresh + "x"}, "client_id": {c.id}},
			{"grant_type": {"refresh_token"}, "refresh_token": {r.tokens.Refresh}, "client_id": {"agent"}, "client_secret": {r.made["client secret of a client"] + "x"}},
		} {
			r.refusedForm(fmt.Sprint("form ", n), c.metadata.Token, form)
		}
	}
	g := &agent{t: t, gateway: r.url(), secret: r.made["client secret of a client"]}
	g.discover()
	idToken := r.known.keep(t, "ID token of an agent's user", r.as.signIn(t, r.ada))
	assertion := r.known.keep(t, "ID-JAG", r.as.exchange(t, idToken, g.metadata.Issuer, r.url()))
	var got tokens
	g.redeem(assertion).decode(t, &got)
	r.works("ID-JAG", r.known.keep(t, "access token by ID-JAG", got.Access), "keyed__echo")
	r.tell("answers", g.redeem(assertion).body+g.redeem(idToken).body)
	// What her login left is exchanged: first for a look at the tools of the server, over her own connection.
	r.must("server", "discover", "crm", "--connection", "ada-crm")
	r.must("server", "discover", "given", "--connection", "ada-given")
	r.apply(nil, r.gatewayManifest("- {tool: crm/echo, pinned: {connection: crm}}\n- {tool: given/echo, pinned: {connection: given}}\n"))
	r.works("exchange of what a login left", got.Access, "crm__echo")
	r.works("what a login left", got.Access, "given__echo")
	r.works("a service account", got.Access, "service__echo")
	got = tokens{Access: r.as.logIn(r.ada, r.callback, r.answers).Access}
	r.known.keep(t, "token of a provider that is presented", got.Access)
	for _, c := range []caller{{url: r.gateway(8080, "corp"), token: got.Access}, {url: r.gateway(8080, "corp"), token: got.Access[:len(got.Access)-8] + "AAAAAAAA"}, {url: r.url(), token: got.Access}} {
		a, err := c.tool(t.Context(), "keyed__echo", map[string]any{"message": r.argument})
		if err != nil || (a.status == http.StatusOK) != (c.url != r.url() && c.token == got.Access) {
			t.Errorf("a provider's token: %v %d %s", err, a.status, a.body)
		}
		r.tell("answers", strings.ReplaceAll(a.body, r.argument, "")+a.challenge)
	}
	if a, err := (caller{url: r.gateway(8080, "corp"), token: got.Access}).tool(t.Context(), "crm__echo", map[string]any{"message": r.argument}); err != nil || a.failed {
		t.Errorf("exchange of a provider's token: %v %s", err, a.body)
	}
	for what, token := range r.made {
		if strings.HasPrefix(what, "token of") {
			r.works(what, token, "keyed__echo")
		}
	}
	return r.made["token of a user"]
}

// refusedForm posts what is refused.
func (r *secretRun) refusedForm(what, to string, form url.Values) {
	r.t.Helper()
	got := sendForm(r.t, http.DefaultClient, http.MethodPost, to, form, nil)
	if got.status < 400 {
		r.t.Errorf("%s is accepted: %d", what, got.status)
	}
	r.tell("answers", got.body+fmt.Sprint(got.header))
}

// page keeps the pages of a browser, and its cookies.
func (r *secretRun) page(w walked) {
	r.tell("pages", strings.Join(w.Seen, "\n"))
	for _, cookie := range w.Kept {
		if len(cookie) > 16 {
			r.known.note("cookie", cookie)
		}
	}
}

// linkOf wants that a call is answered with a link.
func (r *secretRun) linkOf(token, tool string) string {
	r.t.Helper()
	got := r.call(token, tool)
	link := regexp.MustCompile(`http://[^"\\ ]+/connect/[A-Za-z0-9_-]{22}`).FindString(got.body)
	if !got.failed || link == "" {
		r.t.Fatalf("%s: no link: %s", tool, got.body)
	}
	r.known.keep(r.t, "connect link", link[strings.LastIndexByte(link, '/')+1:])
	return link
}

// connect has ada type a header and give a grant, and uses all credentials of servers.
func (r *secretRun) connect(bearer string) {
	t := r.t
	header := "Bearer " + r.secret("header that a person typed")
	r.page(openLink(t, r.ada, r.linkOf(bearer, "typed__echo"), header))
	r.works("typed", bearer, "typed__echo")
	link := r.linkOf(bearer, "tasks__echo")
	r.heard.refuse.Store(true)
	w := followLink(t, r.ada, link)
	if r.page(w); strings.Contains(w.last(), "Connected.") {
		t.Error("a code that its server refuses connects")
	}
	r.heard.refuse.Store(false)
	r.page(openLink(t, r.ada, r.linkOf(bearer, "tasks__echo")))
	r.works("tasks", bearer, "tasks__echo")
	got, err := caller{url: r.url(), token: bearer}.tool(t.Context(), "local__get-env", map[string]any{})
	if err != nil || got.failed || len(r.known.found(got.body)) == 0 {
		t.Errorf("the process did not get its secret: %v %s", err, got.body)
	}
}

// provoke has each credential refused once, by who tells what it was, and sends those of Penstock where they do not belong.
func (r *secretRun) provoke(bearer string) {
	t := r.t
	r.keyed.refuse.Store(true)
	r.typed.refuse.Store(true)
	for _, tool := range []string{"keyed__echo", "typed__echo"} {
		if got := r.call(bearer, tool); !got.failed || !strings.Contains(got.body, "UPSTREAM_AUTH_FAILED") {
			t.Errorf("%s: %s", tool, got.body)
		}
	}
	r.keyed.refuse.Store(false)
	presented := r.known.keep(t, "token of a provider that is not exchanged", r.as.logIn(r.ada, r.callback, r.answers).Access)
	r.service.refuse.Store(true)
	r.crm.refuse.Store(true)
	r.given.refuse.Store(true)
	r.heard.refuse.Store(true) // nothing is given in place of what is refused
	for _, tool := range []string{"service__echo", "crm__echo", "given__echo"} {
		if got := r.call(bearer, tool); !got.failed {
			t.Errorf("%s: %s", tool, got.body)
		}
	}
	refused, err := caller{url: r.gateway(8080, "corp"), token: presented}.tool(t.Context(), "crm__echo", map[string]any{"message": r.argument})
	if err != nil || !refused.failed {
		t.Errorf("crm with a token that is not exchanged: %v %s", err, refused.body)
	}
	r.tell("answers", refused.body)
	r.heard.refuse.Store(false)
	end := func() {
		seen := r.tasks.seen()
		r.tasks.end(seen[len(seen)-1].token)
	}
	end()
	r.heard.refuse.Store(true)
	link := r.linkOf(bearer, "tasks__echo") // the refresh token is refused: the grant is dead
	r.heard.refuse.Store(false)
	r.page(openLink(t, r.ada, link))
	r.works("a new grant", bearer, "tasks__echo")
	end()
	r.works("a token that is renewed", bearer, "tasks__echo")
	r.heard.refuse.Store(true)
	c := registerClient(t, r.url())
	w := walkAll(t, r.ada, "Example Login", c.attempt().url)[0] // the provider refuses its code
	if r.page(w); strings.HasPrefix(w.Ended, c.callback.URL) {
		t.Errorf("a login whose code the provider refuses ended at %s", w.Ended)
	}
	r.heard.refuse.Store(false)
	mistaken := r.ada
	mistaken.Password = r.secret("wrong password")
	r.page(walkAll(t, mistaken, "", c.attempt().url)[0])
	got := r.cli(nil, "server", "discover", "broken", "--connection", "broken")
	if got.code == 0 {
		t.Error("a server that fails is discovered")
	}
	r.tell("command line", got.stdout+got.stderr)

	known := []string{r.tokens.Access, r.tokens.Refresh, bearer, r.made["SCIM token"], r.made["client secret of a client"]}
	for _, secret := range known {
		scim := provisioner{t, "http://" + address(8083+r.offset) + "/scim/v2", secret}
		if status, _ := scim.send("GET", "/Users", ""); (status == http.StatusOK) != (secret == r.made["SCIM token"]) {
			t.Errorf("SCIM: status %d", status)
		}
		for _, to := range []string{r.url() + "?access_token=" + url.QueryEscape(secret), r.url() + "/" + url.PathEscape(secret), r.url() + "/messages?sessionId=" + url.QueryEscape(secret)} {
			r.refusedForm("out of place", to, url.Values{"token": {secret}})
		}
		if secret != bearer && secret != r.tokens.Access {
			r.call(secret, "keyed__echo")
		}
		r.call(secret[:len(secret)-1]+"!", "keyed__echo")
		status, body := get(t, "http://"+address(8081+r.offset)+"/"+url.PathEscape(secret))
		r.tell("answers", fmt.Sprint(status, body))
	}
}

// collect asks for everything that can be looked at, and ends the processes with a dump of what they do.
func (r *secretRun) collect() {
	t := r.t
	for _, kind := range []string{"gateway", "server", "connection", "tool", "team", "user", "token", "identity-provider", "oauth-client", "node"} {
		got := r.cli(nil, "get", kind, "-o", "yaml")
		if got.code != 0 {
			t.Errorf("get %s: %s", kind, got.stderr)
		}
		r.tell("command line", got.stdout+got.stderr)
	}
	for _, of := range [][2]string{{"gateway", "tools"}, {"server", "tasks"}, {"server", "broken"}, {"connection", "keyed"}, {"connection", "broken"}, {"identity-provider", "example"}, {"oauth-client", "agent"}} {
		r.tell("command line", r.must("describe", of[0], of[1]))
	}
	r.tell("command line", r.must("export")+r.must("revisions", "-o", "json"))
	for _, port := range []int{9080, 9081, 9083} {
		for _, page := range []string{"/metrics", "/readyz", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
			status, text := get(t, r.ops(port)+page)
			if status != http.StatusOK {
				t.Errorf("%d%s: status %d", port, page, status)
			}
			r.tell("metrics and profiles", text)
		}
	}
	exported := r.startIssuer("--audit.export")
	if code := exported.wait(); code != 0 {
		t.Errorf("audit export: exit code %d: %s", code, exported.stderr.tail())
	}
	r.tell("audit", exported.stdout.String()+exported.stderr.String())
	r.trace()
	for _, p := range r.programs {
		p.signal(syscall.SIGQUIT)
		if p.wait(); !strings.Contains(p.stderr.String(), "goroutine ") {
			t.Errorf("%s ended without a dump", p.name)
		}
		r.tell("log of "+p.name, p.stdout.String()+p.stderr.String())
	}
	r.tell("traces and metrics", r.sink.Text())
	r.files()
}

// trace makes a last call and waits until its spans were pushed: then all before them were too.
func (r *secretRun) trace() {
	r.t.Helper()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	got, err := caller{url: r.url(), token: r.made["token of a user"]}.send(r.t.Context(), "tools/call", "keyed__echo", map[string]any{
		"name": "keyed__echo", "arguments": map[string]any{"message": r.argument}, "_meta": map[string]any{"traceparent": "00-" + trace + "-00f067aa0ba902b7-01"},
	}, nil)
	if err != nil || got.failed {
		r.t.Fatalf("the last call: %v %s", err, got.body)
	}
	eventually(r.t, 30*time.Second, func() error {
		if len(r.sink.Spans(trace)) == 0 {
			return fmt.Errorf("no spans of %s", trace)
		}
		return nil
	})
}

// files keeps what is on the disk, as it lies there: databases with what is not yet moved out of their logs of changes, what nodes
// keep to start without a control plane, and settings.
func (r *secretRun) files() {
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "admin.token" || strings.HasSuffix(d.Name(), ".keyset") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // in a folder of the test's own
		r.said["file "+strings.TrimPrefix(path, r.dir+"/")] = string(text)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// search looks for every secret everywhere, and for what shows that everything was looked at.
func (r *secretRun) search() {
	t := r.t
	for _, what := range []string{"access token", "refresh token", "cookie", "connect link", "code of a provider", "code_verifier at a provider", "access_token of a provider", "refresh_token of a provider"} {
		if !r.known.has(what) {
			t.Errorf("there was no %s", what)
		}
	}
	refusals := r.heard.refusals()
	for what, n := range map[string]int{"code code_verifier client_secret_basic": 2, "refresh_token client_secret_basic": 1, "client_secret_basic": 1, "subject_token client_secret_basic": 1} {
		found := 0
		for _, refused := range refusals {
			if refused == what {
				found++
			}
		}
		if found < n {
			t.Errorf("the provider repeated %d times %s, want %d; in all %q", found, what, n, refusals)
		}
	}
	for place, mark := range map[string]string{ // what is no secret and must be there
		"log of authserver": "request answered", "log of controlplane": `"level":"INFO"`, "log of dataplane": "request answered", "answers": "UPSTREAM_AUTH_FAILED",
		"pages": "Connected.", "command line": "name: keyed", "metrics and profiles": "penstock_vault_operations_total", "audit": "idjag.accepted",
		"traces and metrics": "penstock-authserver", "file controlplane.db": "keyed", "file authserver.db": "SQLite format 3",
	} {
		if !strings.Contains(r.said[place]+r.said[place+"-wal"], mark) {
			t.Errorf("%s: %q is not there", place, mark)
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(r.said)), func(place string) bool { return strings.HasPrefix(place, "file node-a/state/") }) {
		t.Error("the node keeps no state")
	}
	for place, text := range r.said {
		for _, what := range r.known.found(text) {
			if place == "answers" && what == "connect link as clear" || strings.HasPrefix(what, "connect link, number") && place == "answers" {
				continue // it is what the caller is to open
			}
			t.Errorf("%s: %s", place, what)
		}
	}
	// The search finds what went where it belongs.
	for what, recording := range map[string]string{
		"header of an administrator as clear": r.keyed.recording(), "token for polling as clear": r.events.recording(), "header that a person typed as clear": r.typed.recording(), "access_token of a provider": fmt.Sprint(r.tasks.seen()),
		"access_token of a provider, ": r.service.recording(), "access_token of a provider, number": r.crm.recording(),
		"access_token of a provider, number ": r.given.recording(),
	} {
		if !slices.ContainsFunc(r.known.found(recording), func(found string) bool { return strings.HasPrefix(found, what) }) {
			t.Errorf("the server did not get its %s", what)
		}
	}
}
