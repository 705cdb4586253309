// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/queue"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	canary = "canary-2b7d-never-shown"
	// soon is how long a test waits for what must happen.
	soon = 20 * time.Second
)

func TestMain(m *testing.M) {
	if mode, ok := os.LookupEnv(modeVariable); ok {
		modes()[mode]()
		return
	}
	goleak.VerifyTestMain(m)
}

// newPool returns a running pool that is closed, all processes ended, when the test ends.
func newPool(t *testing.T, change func(*Config)) *Pool {
	t.Helper()
	c := Config{ClientName: "node", ClientVersion: "1.0", StopGrace: 300 * time.Millisecond, Dir: t.TempDir()}
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, p.Close(context.Background())); err != nil {
			t.Error(err)
		}
		if n := len(p.room); n != 0 {
			t.Errorf("%d processes are left after Close", n)
		}
	})
	return p
}

func target(t *testing.T, mode string) Target {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Target{
		Server: mode, Connection: mode + "-shared", Command: self, Key: mode, PrincipalKey: "user:ada",
		// A program with the race detector would sleep a second before it ends.
		Env: map[string]string{modeVariable: mode, "GORACE": "atexit_sleep_ms=0"}, SecretEnv: map[string]obs.Secret{"API_KEY": canary},
	}
}

func request(tool, text string) upstream.Request {
	params := wire.AppendString([]byte(`{"name":"`+tool+`","arguments":{"text":`), text)
	return upstream.Request{Method: "tools/call", Params: append(params, "}}"...)}
}

// call runs a tool and returns the text of its result.
func call(t *testing.T, p *Pool, to Target, tool, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	r, err := p.Call(ctx, to, request(tool, text), nil)
	if err != nil {
		t.Fatalf("call %s: %v", tool, err)
	}
	return textOf(t, r)
}

func textOf(t *testing.T, r upstream.Result) string {
	t.Helper()
	var v struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(r.Raw, &v); err != nil || len(v.Content) != 1 {
		t.Fatalf("result %s, error %s: %v", r.Raw, r.Error, err)
	}
	return v.Content[0].Text
}

// refused runs a tool that must fail and checks how.
func refused(t *testing.T, p *Pool, to Target, kind fault.Kind, reason, says string) fault.Fault {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	r, err := p.Call(ctx, to, request("x", ""), nil)
	return wantFault(t, r, err, kind, reason, says)
}

func wantFault(t *testing.T, r upstream.Result, err error, kind fault.Kind, reason, says string) fault.Fault {
	t.Helper()
	f := fault.From(err)
	if f == nil {
		t.Fatalf("result %s, error %s, want %s", r.Raw, r.Error, reason)
	}
	if f.Kind != kind || f.Reason != reason || !strings.Contains(f.Public, says) {
		t.Errorf("fault is %v (%v), want %v %s …%s…", err, f.Kind, kind, reason, says)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the secret is in the error: %v", err)
	}
	return *f
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// gone reports whether a process has ended; a zombie that nobody reaps has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func pidOf(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestRealServer(t *testing.T) {
	p := newPool(t, func(c *Config) { c.StartTimeout, c.ProbeTimeout = 2*time.Minute, time.Minute }) // on a busy machine a server begins late
	to := target(t, "good")
	if got := call(t, p, to, "echo", "größer"); got != "größer" {
		t.Errorf("echo says %q", got)
	}
	r, err := p.Call(t.Context(), to, request("fail", ""), nil)
	if err != nil || !strings.Contains(string(r.Raw), `"isError":true`) {
		t.Errorf("a failing tool gives %s, %v", r.Raw, err)
	}
	r, err = p.Call(t.Context(), to, upstream.Request{Method: "no/such"}, nil)
	if err != nil || !strings.Contains(string(r.Error), "-32601") {
		t.Errorf("an unknown method gives %s, %v", r.Error, err)
	}
	_, err = p.Call(t.Context(), to, upstream.Request{Method: "tools/call", Params: []byte(`[]`)}, nil)
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("params that are no object give %v", err)
	}
	info, err := p.Describe(t.Context(), to)
	if err != nil || len(info.Tools) != 7 {
		t.Errorf("%d tools, error %v", len(info.Tools), err)
	}
	if info.Version != wire.V20260728 || info.Instructions != "be kind" || !strings.Contains(string(info.ServerInfo.ServerInfo), `"good"`) {
		t.Errorf("server info is %+v", info)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "good")
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if got := call(t, p, to, "echo", fmt.Sprint("n", i)); got != fmt.Sprint("n", i) {
				t.Errorf("call %d got %q", i, got)
			}
		})
	}
	group.Wait()
	if n := len(p.room); n != 1 {
		t.Errorf("%d processes, want 1", n)
	}
}

// Nothing is inherited, nothing goes through a shell.
func TestEnvironmentAndArguments(t *testing.T) {
	t.Setenv("PENSTOCK_TOKEN", "node's own")
	p := newPool(t, nil)
	to := target(t, "good")
	to.Args = []string{"$HOME", "a b", "*", ";", "-x"}
	to.Env["API_KEY"] = "hidden by the secret"
	to.Env["EMPTY"] = ""
	got := strings.Split(call(t, p, to, "environment", ""), "\n")
	want := []string{"API_KEY=" + canary, "EMPTY=", "GORACE=atexit_sleep_ms=0", modeVariable + "=good", "wd " + p.cfg.Dir, "args [$HOME a b * ; -x]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

// M-94, UP-9: one process for each credential and principal, one for all principals of a stateless server.
func TestWhoSharesAProcess(t *testing.T) {
	p := newPool(t, nil)
	base := target(t, "good")
	pid := func(change func(*Target)) string {
		to := base
		to.Env = maps.Clone(base.Env)
		change(&to)
		return call(t, p, to, "pid", "")
	}
	first := pid(func(*Target) {})
	for _, c := range []struct {
		name   string
		change func(*Target)
		same   bool
	}{
		{"again", func(*Target) {}, true},
		{"other limits", func(to *Target) { to.CallTimeout, to.MaxResponse = time.Minute, 1<<20 }, true},
		{"another principal", func(to *Target) { to.PrincipalKey = "user:bob" }, false},
		{"another credential", func(to *Target) { to.Key = "v2" }, false},
		{"another secret", func(to *Target) { to.SecretEnv = map[string]obs.Secret{"API_KEY": "new"} }, false},
		{"other arguments", func(to *Target) { to.Args = []string{"-v"} }, false},
		{"another variable", func(to *Target) { to.Env["A"] = "b" }, false},
	} {
		if same := pid(c.change) == first; same != c.same {
			t.Errorf("%s: same process is %v, want %v", c.name, same, c.same)
		}
	}
	ada := pid(func(to *Target) { to.Stateless = true })
	bob := pid(func(to *Target) { to.Stateless, to.PrincipalKey = true, "user:bob" })
	if ada != bob || ada == first {
		t.Errorf("a stateless server runs as %s for ada and %s for bob; ada's own is %s", ada, bob, first)
	}
}

// M-12, M-50: the client's token comes back, in order, before the result.
func TestProgressInOrder(t *testing.T) {
	p := newPool(t, nil)
	for _, token := range []string{`"client's"`, `9007199254740993`} {
		r := request("steps", "")
		r.Params = []byte(`{"name":"steps","_meta":{"progressToken":` + token + `,"keep":1.0}}`)
		r.ProgressToken = []byte(token)
		var got []string
		res, err := p.Call(t.Context(), target(t, "good"), r, func(e upstream.Event) error {
			var m struct {
				Params struct {
					ProgressToken json.RawMessage
					Progress      float64
				}
			}
			err := json.Unmarshal(e.Raw, &m)
			got = append(got, fmt.Sprint(e.Method, " ", string(m.Params.ProgressToken), " ", m.Params.Progress))
			return err
		})
		if err != nil || textOf(t, res) != "done" {
			t.Fatalf("result %s, error %v", res.Raw, err)
		}
		var want []string
		for i := range 5 {
			want = append(want, fmt.Sprint("notifications/progress ", token, " ", i))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events differ (-want +got):\n%s", diff)
		}
	}
}

// M-20: a slow sink never holds up the reader. What it misses is progress, and it gets the newest and the result.
func TestSlowSinkLosesOnlyOldProgress(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "flood")
	r := request("x", "")
	r.ProgressToken = []byte(`1`)
	var seen []string
	res, err := p.Call(t.Context(), to, r, func(e upstream.Event) error {
		if len(seen) == 0 { // another call gets through meanwhile: the reader goes on
			if got := call(t, p, to, "x", ""); got != "flooded" {
				t.Errorf("the other call got %q", got)
			}
		}
		seen = append(seen, string(e.Raw))
		return nil
	})
	if err != nil || textOf(t, res) != "flooded" {
		t.Fatalf("result %s, error %v", res.Raw, err)
	}
	if n := len(seen); n > 2*queue.Max || n < queue.Max {
		t.Errorf("%d events came through, bound %d", n, queue.Max)
	}
	if last := seen[len(seen)-1]; !strings.Contains(last, `"progress":1999}`) {
		t.Errorf("the last event is %s", last)
	}
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, cancel func(), p *Pool, to Target, r upstream.Request, started func()) error
		kind fault.Kind
	}{
		{"by the client", func(ctx context.Context, cancel func(), p *Pool, to Target, r upstream.Request, started func()) error {
			go func() { started(); cancel() }()
			_, err := p.Call(ctx, to, r, nil)
			return err
		}, fault.Canceled},
		{"by the timeout", func(ctx context.Context, _ func(), p *Pool, to Target, r upstream.Request, _ func()) error {
			to.CallTimeout = 500 * time.Millisecond
			_, err := p.Call(ctx, to, r, nil)
			return err
		}, fault.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, nil)
			to := target(t, "good")
			call(t, p, to, "echo", "so that it runs")
			file := filepath.Join(t.TempDir(), "f")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			exists := func(name string) func() bool {
				return func() bool { _, err := os.Stat(file + name); return err == nil }
			}
			err := c.run(ctx, cancel, p, to, request("slow", file), func() { until(t, "started", exists(".started")) })
			if fault.KindOf(err) != c.kind {
				t.Errorf("error is %v, want %v", err, c.kind)
			}
			until(t, "the server heard of it", exists(".cancelled"))
			call(t, p, to, "echo", "and goes on")
		})
	}
}

// M-49: progress restarts the timeout.
func TestProgressKeepsACallAlive(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "good")
	call(t, p, to, "echo", "so that it runs")
	to.CallTimeout = 2 * time.Second
	r := upstream.Request{
		Method: "tools/call", Params: []byte(`{"name":"steps","arguments":{"pause":900},"_meta":{"progressToken":1}}`), ProgressToken: []byte(`1`),
	}
	if res, err := p.Call(t.Context(), to, r, func(upstream.Event) error { return nil }); err != nil || textOf(t, res) != "done" {
		t.Errorf("result %s, error %v", res.Raw, err)
	}
	p.talks.CallCeiling = 2500 * time.Millisecond
	_, err := p.Call(t.Context(), to, r, func(upstream.Event) error { return nil })
	wantFault(t, upstream.Result{}, err, fault.Timeout, upstream.ReasonTimeout, "in time")
}

func TestSinkEndsTheCall(t *testing.T) {
	p := newPool(t, nil)
	r := request("steps", "")
	r.ProgressToken = []byte(`1`)
	away := errors.New("client gone")
	_, err := p.Call(t.Context(), target(t, "good"), r, func(upstream.Event) error { return away })
	if fault.KindOf(err) != fault.Canceled || !errors.Is(err, away) {
		t.Errorf("error is %v", err)
	}
}

// What the server gets, byte for byte.
func TestWhatIsSent(t *testing.T) {
	p := newPool(t, nil)
	r := upstream.Request{
		Method:        "tools/call",
		Params:        []byte("{\n \"name\" : \"x\",\r\n \"arguments\":{\"n\":1e400, \"i\":9007199254740993},\"_meta\":{\"io.penstock/a\":1,\"io.modelcontextprotocol/logLevel\":\"info\",\"mine\":2,\"progressToken\":\"p\"}}"),
		ProgressToken: []byte(`"p"`), Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	res, err := p.Call(t.Context(), target(t, "said"), r, func(upstream.Event) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(textOf(t, res), "\n")
	want := []string{
		`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"node","version":"1.0"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
		`{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"node","version":"1.0"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{  "name" : "x",   "arguments":{"n":1e400, "i":9007199254740993},"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","mine":2,"progressToken":3}}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
	r = upstream.Request{Method: "tools/list", Traceparent: "00-1", Tracestate: "a=1"}
	if res, err = p.Call(t.Context(), target(t, "said"), r, nil); err != nil {
		t.Fatal(err)
	}
	said := strings.Split(textOf(t, res), "\n")
	if want := `{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"_meta":{"traceparent":"00-1","tracestate":"a=1"}}}`; said[len(said)-1] != want {
		t.Errorf("sent %s, want %s", said[len(said)-1], want)
	}
}

func TestQuestionsAreAnswered(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "asks")
	got := call(t, p, to, "x", "")
	want := `{"jsonrpc":"2.0","id":3,"result":{}}` + "\n" + `{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"Method not found"}}`
	if got != want {
		t.Errorf("the server got\n%s\nwant\n%s", got, want)
	}
}

func TestDescribe(t *testing.T) {
	p := newPool(t, nil)
	d, err := p.Describe(t.Context(), target(t, "pages"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, tool := range d.Tools {
		got = append(got, string(tool))
	}
	// Byte for byte; the cursor that comes again ends the list (M-70).
	want := []string{`{ "name" : "a" }`, `{"name":"b","inputSchema":{"x-keep": 9007199254740993}}`, `{"name":"c"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tools differ (-want +got):\n%s", diff)
	}
	until(t, "the process ended", func() bool { return len(p.room) == 0 })
	d, err = p.Describe(t.Context(), target(t, "no-tools"))
	if err != nil || d.Tools != nil || d.Instructions != "read" {
		t.Errorf("without tools: %+v, %v", d, err)
	}
	for _, mode := range []string{"list-error", "list-bad", "list-text"} {
		_, err := p.Describe(t.Context(), target(t, mode))
		wantFault(t, upstream.Result{}, err, fault.Unavailable, upstream.ReasonProtocol, mode)
	}
}
