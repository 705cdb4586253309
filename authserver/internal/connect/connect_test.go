// SPDX-License-Identifier: Apache-2.0

package connect_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/connect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const done = "Connected. Go back to your client"

// EL-4, EL-5, UP-10: a person gives the headers that the server names; they are in the vault for her connection and nowhere
// else, and the link is used up.
func TestConnect(t *testing.T) {
	w := newWorld(t)
	path := w.link()
	id := strings.TrimPrefix(path, "/connect/")
	body := w.want("u-ada", http.MethodGet, path, nil, 200, "Connect GitHub")
	for _, text := range []string{"mcp.github.example", "Engineering", "https://claude.ai/c.json", "Ada Lovelace", ">Authorization", ">X-Org<"} {
		if !strings.Contains(body, text) {
			t.Errorf("the page lacks %q: %s", text, body)
		}
	}
	w.want("u-ada", http.MethodPost, path, w.filled(body, " Bearer "+canary+"\n", "acme"), 200, done)
	got, _ := w.plane.of("u-ada/github")
	if !slices.Equal(got.Names, []string{"Authorization", "X-Org"}) {
		t.Errorf("the control plane has %+v", got)
	}
	secret, err := w.vault.Resolve(t.Context(), "c-u-ada/github", got.Version)
	w.must(err)
	if secret.Headers["Authorization"].Reveal() != "Bearer "+canary || secret.Headers["X-Org"].Reveal() != "acme" {
		t.Error("the vault has something else")
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w.want("u-ada", method, path, nil, 410, "The link is over")
	}
	want := []string{
		"elicitation.created ok  spiffe://x/node/n https://claude.ai/c.json u-ada/github",
		"elicitation.completed ok  u-ada https://claude.ai/c.json u-ada/github",
	}
	if got := w.events(); !slices.Equal(got, want) {
		t.Errorf("events: %q, want %q", got, want)
	}
	w.checkSecrecy(canary, id)
}

// EL-4, UP-10: a link that a person asked her control plane for, without a call, says nothing of a gateway or a client, and is used as
// others are.
func TestConnectWithoutCall(t *testing.T) {
	w := newWorld(t)
	path := w.linkOf(connect.Request{User: "u-ada", Server: "github", Asker: ident.Workload{TrustDomain: "x", Role: ident.RoleControlPlane, Name: "c"}})
	body := w.want("u-ada", http.MethodGet, path, nil, 200, "Continue only if you just asked for this link yourself.")
	for _, text := range []string{"Gateway", "<dt>App"} {
		if strings.Contains(body, text) {
			t.Errorf("the page has %q: %s", text, body)
		}
	}
	after := w.want("u-ada", http.MethodPost, path, w.filled(body, "Bearer "+canary, "acme"), 200, "the tools of the server can be discovered now.")
	if strings.Contains(after, "your client") {
		t.Errorf("the page tells of a client: %s", after)
	}
	if got, ok := w.plane.of("u-ada/github"); !ok || got.Version == "" {
		t.Errorf("the control plane has %+v", got)
	}
	want := []string{"elicitation.created ok  spiffe://x/controlplane/c  u-ada/github", "elicitation.completed ok  u-ada  u-ada/github"}
	if got := w.events(); !slices.Equal(got, want) {
		t.Errorf("events: %q, want %q", got, want)
	}
	w.checkSecrecy(canary, strings.TrimPrefix(path, "/connect/"))
}

// §16 149, EL-4: another person's link is refused, with nothing stored; nobody gets to log in first and then to the link.
func TestForeignLink(t *testing.T) {
	w := newWorld(t)
	path := w.link()
	form := w.filled(w.want("u-ada", http.MethodGet, path, nil, 200, "Connect GitHub"), "Bearer "+canary, "acme")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w.want("u-bob", method, path, form, 403, "This link is not yours")
	}
	if _, stored := w.plane.of("u-ada/github"); stored || w.plane.calls > 0 {
		t.Error("something is stored")
	}
	const event = "elicitation.user_mismatch refused user_mismatch u-bob https://claude.ai/c.json u-ada/github"
	if got := w.events(); len(got) != 3 || got[1] != event || got[2] != event {
		t.Errorf("events: %q", got)
	}
	status, _, to := w.send("", http.MethodGet, path, nil)
	if status != 303 || to != "/login?request="+strings.TrimPrefix(path, "/connect/") {
		t.Errorf("nobody is sent to %q with %d", to, status)
	}
	w.want("u-ada", http.MethodPost, path, form, 200, done) // it is still hers
	w.checkSecrecy(canary)
}

// EL-5, AZ-15, and what the control plane refuses: the exact answer, and whether the link can be used afterwards.
func TestRefusals(t *testing.T) {
	unavailable := fault.New(fault.Unavailable, directory.ReasonUnreachable, "Down.")
	denied := fault.New(fault.Denied, directory.ReasonConnectNotAllowed, "No.")
	rows := []struct {
		name   string
		change func(w *world, f url.Values)
		fail   map[int]error
		status int
		text   string
		open   bool // it can be used afterwards
	}{
		{"no token of the form", func(_ *world, f url.Values) { f.Del("csrf") }, nil, 403, "not from this login", true},
		{"an empty value", func(_ *world, f url.Values) { f.Set("header1", " ") }, nil, 400, "Fill in every field", true},
		{"a value with a line break", func(_ *world, f url.Values) { f.Set("header1", "a\r\nb") }, nil, 400, "cannot be sent as a header", true},
		{"a value of 17 KiB", func(_ *world, f url.Values) { f.Set("header1", strings.Repeat("a", 17<<10)) }, nil, 400, "cannot be sent as a header", true},
		{"eleven minutes later", func(w *world, _ url.Values) { w.pass(11 * time.Minute) }, nil, 410, "The link is over", false},
		{"a server that is gone", func(w *world, _ url.Values) {
			w.view = directory.NewView(directory.Content{Users: []*directory.User{w.view.User("u-ada")}})
		}, nil, 410, "The link is over", false},
		{"a user who is gone", func(w *world, _ url.Values) { w.view = directory.NewView(directory.Content{}) }, nil, 403, "not active", false},
		{"no directory", func(w *world, _ url.Values) { w.view = nil }, nil, 503, "Not available", false},
		{"may not install", nil, map[int]error{1: denied}, 403, "You may not connect GitHub", true},
		{"the control plane is down", nil, map[int]error{1: unavailable}, 503, "Not available", true},
		{"the control plane goes down", nil, map[int]error{2: unavailable}, 503, "Not available", true},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.plane.fail = tt.fail
			path := w.link()
			form := w.filled(w.want("u-ada", http.MethodGet, path, nil, 200, "Connect"), "Bearer "+canary, "acme")
			changed := url.Values{}
			for k, v := range form {
				changed[k] = v
			}
			if tt.change != nil {
				tt.change(w, changed)
			}
			if body := w.want("u-ada", http.MethodPost, path, changed, tt.status, tt.text); strings.Contains(body, canary) {
				t.Error("the page shows what was typed")
			}
			if tt.open {
				w.want("u-ada", http.MethodPost, path, form, 200, done)
			}
			w.checkSecrecy(canary)
		})
	}
}

// What is no link is 410 for everybody, before any login.
func TestNoLink(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"x", strings.Repeat("A", 22), strings.Repeat("A", 21) + "B", strings.Repeat("%2e", 22), strings.Repeat("A", 43)} {
		w.want("", http.MethodGet, "/connect/"+id, nil, 410, "The link is over")
	}
}

// EL-5: of several at once one uses the link.
func TestUsedOnce(t *testing.T) {
	w := newWorld(t)
	path := w.link()
	form := w.filled(w.want("u-ada", http.MethodGet, path, nil, 200, "Connect"), "Bearer a", "b")
	var wg sync.WaitGroup
	status := make([]int, 8)
	for i := range status {
		wg.Go(func() { status[i], _, _ = w.send("u-ada", http.MethodPost, path, form) })
	}
	wg.Wait()
	slices.Sort(status)
	if want := []int{200, 410, 410, 410, 410, 410, 410, 410}; !slices.Equal(status, want) {
		t.Errorf("got %v, want %v", status, want)
	}
}

// EL-11, and the faults of a link that cannot be made.
func TestCreate(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.link()
	}
	create := func(r connect.Request) error {
		_, _, err := w.connect.Create(t.Context(), r)
		return err
	}
	ada := connect.Request{User: "u-ada", Server: "github", Gateway: "eng"}
	wantFault(t, create(ada), fault.Exhausted, connect.ReasonTooMany)
	w.linkOf(connect.Request{User: "u-bob", Server: "github", Gateway: "eng"})
	w.pass(10 * time.Minute)
	w.link()
	wantFault(t, create(connect.Request{User: "u-ada", Server: "none", Gateway: "eng"}), fault.NotFound, directory.ReasonServerUnknown)
	wantFault(t, create(connect.Request{User: "u-ada", Server: "plain", Gateway: "eng"}), fault.Precondition, connect.ReasonNotConnectable)
	wantFault(t, create(connect.Request{User: "u-ada", Server: "github", Client: "a\x00", Gateway: "eng"}), fault.Invalid, connect.ReasonRequest)
	for _, scope := range []string{"a\"b", "a\nb", `a\b`, "ä"} {
		wantFault(t, create(connect.Request{User: "u-ada", Server: "github", Gateway: "eng", Scope: scope}), fault.Invalid, connect.ReasonRequest)
	}
	w.view = nil
	wantFault(t, create(ada), fault.Unavailable, connect.ReasonNoDirectory)
}

// The login page says what it is for.
func TestDescribe(t *testing.T) {
	w := newWorld(t)
	id := strings.TrimPrefix(w.link(), "/connect/")
	if d, err := w.connect.Describe(t.Context(), id); err != nil || d.Server != "GitHub" || !connect.IsLink(id) || connect.Onward(id) != "/connect/"+id {
		t.Errorf("got %+v, %v", d, err)
	}
	if connect.IsLink("psq_x") {
		t.Error("an authorization request is a link")
	}
	w.pass(10 * time.Minute)
	_, err := w.connect.Describe(t.Context(), id)
	wantFault(t, err, fault.NotFound, connect.ReasonOver)
}

// TestTypedCredentialIsTried is UP-10: what the server refuses is not stored, and the link stays good for another try; what cannot be
// tried from here is stored, and the page says so.
func TestTypedCredentialIsTried(t *testing.T) {
	const wrong, right = canary + "-wrong", canary + "-right"
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Api-Key") {
		case right:
			status(http.StatusOK)(w, r)
		default:
			status(http.StatusUnauthorized)(w, r)
		}
	}))
	defer server.Close()
	for _, tt := range []struct {
		name, url, value string
		status           int
		page             string
		stored           bool
		event            string
	}{
		{"taken", server.URL, right, 200, "Connected. Go back to your client and try again.</p>", true, "ok "},
		{"refused", server.URL, wrong, 400, "The server refuses this value", false, "refused credential_refused"},
		{"not to be tried", "http://127.0.0.1:1/mcp", wrong, 200, "could not be tried from here", true, "ok "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &directory.Server{UID: "s9", Name: "keyed", URL: tt.url, Headers: []string{"X-Api-Key"}})
			path := w.linkOf(connect.Request{User: "u-ada", Server: "keyed", Gateway: "eng"})
			form := w.filled(w.want("u-ada", http.MethodGet, path, nil, 200, "Connect keyed"), tt.value)
			body := w.want("u-ada", http.MethodPost, path, form, tt.status, tt.page)
			if _, stored := w.plane.of("u-ada/keyed"); stored != tt.stored || strings.Contains(body, canary) {
				t.Errorf("stored: %t; %s", stored, body)
			}
			events := w.events()
			if !strings.HasPrefix(events[len(events)-1], "elicitation.completed "+tt.event) {
				t.Errorf("recorded %q", events)
			}
			if !tt.stored {
				w.want("u-ada", http.MethodPost, path, w.filled(body, right), 200, done)
			}
			w.checkSecrecy(canary)
		})
	}
}
