// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Servers that do not start, and what the call says.
func TestStartFailures(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain.txt")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, mode   string
		change       func(*Target)
		kind         fault.Kind
		reason, says string
	}{
		{"unknown command", "good", func(to *Target) { to.Command = "penstock-no-such-command" }, fault.Precondition, upstream.ReasonTarget, "does not have its command"},
		{"no command", "good", func(to *Target) { to.Command = "" }, fault.Precondition, upstream.ReasonTarget, "command"},
		{"relative path", "good", func(to *Target) { to.Command = "./server" }, fault.Precondition, upstream.ReasonTarget, "command"},
		{"missing file", "good", func(to *Target) { to.Command = "/no/such/server" }, fault.Unavailable, upstream.ReasonUnreachable, "cannot be started"},
		{"not a program", "good", func(to *Target) { to.Command = plain }, fault.Unavailable, upstream.ReasonUnreachable, "cannot be started"},
		{"a variable with =", "good", func(to *Target) { to.Env["A=B"] = "c" }, fault.Precondition, upstream.ReasonTarget, "environment"},
		{"a value with NUL", "good", func(to *Target) { to.SecretEnv = map[string]obs.Secret{"A": canary + "\x00"} }, fault.Precondition, upstream.ReasonTarget, "environment"},
		{"ends at once", "exit", nil, fault.Unavailable, upstream.ReasonUnreachable, "ended before it was ready"},
		{"leaves a daemon behind", "daemon", nil, fault.Unavailable, upstream.ReasonUnreachable, "ended before it was ready"},
		{"says nothing", "mute", nil, fault.Unavailable, upstream.ReasonUnreachable, "did not answer within 2s"},
		{"writes only noise", "garbage", nil, fault.Unavailable, upstream.ReasonProtocol, "3 lines to standard output, none of them a message"},
		{"answers a version that is not legacy", "modern", nil, fault.Unavailable, upstream.ReasonProtocol, "version"},
		{"refuses", "refuses", nil, fault.Unavailable, upstream.ReasonUnreachable, "refused to initialize"},
		{"describes nothing", "empty", nil, fault.Unavailable, upstream.ReasonProtocol, "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, func(cfg *Config) {
				if c.mode == "mute" || c.mode == "garbage" {
					cfg.StartTimeout = 2 * time.Second
				}
			})
			to := target(t, c.mode)
			if c.change != nil {
				c.change(&to)
			}
			refused(t, p, to, c.kind, c.reason, c.says)
			until(t, "nothing runs", func() bool { return len(p.room) == 0 })
		})
	}
}

// What a server wrote to standard error helps to find out why; the secrets it knows are redacted.
func TestLastWordsAreKeptWithoutSecrets(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "exit")
	f := refused(t, p, to, fault.Unavailable, upstream.ReasonUnreachable, "ended before it was ready")
	if strings.Contains(f.Public, "log in") {
		t.Errorf("callers are shown standard error: %s", f.Public)
	}
	if want := "last words: cannot log in with [redacted]"; !strings.Contains(f.Error(), want) {
		t.Errorf("the cause is %v, want …%s…", f, want)
	}
	// It was started twice: it could have been server/discover that it does not stand (M-2).
	if got, want := p.Stderr(to), strings.Repeat("starting\ncannot log in with [redacted]\n", 2); got != want {
		t.Errorf("standard error is %q, want %q", got, want)
	}
	if got := p.Stderr(target(t, "good")); got != "" {
		t.Errorf("standard error of a server that never ran is %q", got)
	}
}

// Servers that misbehave in the middle.
func TestCallFailures(t *testing.T) {
	for _, c := range []struct {
		mode   string
		kind   fault.Kind
		reason string
	}{
		{"crash", fault.Unavailable, upstream.ReasonOutcomeUnknown},
		{"half", fault.Unavailable, upstream.ReasonOutcomeUnknown},
		{"closes", fault.Unavailable, upstream.ReasonOutcomeUnknown},
		{"duplicate", fault.Unavailable, upstream.ReasonProtocol},
		{"no-object", fault.Unavailable, upstream.ReasonProtocol},
		{"silent", fault.Timeout, upstream.ReasonTimeout},
	} {
		t.Run(c.mode, func(t *testing.T) {
			p := newPool(t, nil)
			to := target(t, c.mode)
			to.CallTimeout = 2 * time.Second
			refused(t, p, to, c.kind, c.reason, c.mode)
		})
	}
}

// Servers that are odd, and served all the same.
func TestOddServers(t *testing.T) {
	for _, c := range []struct{ mode, want string }{
		{"banner", `{"content":[{"type":"text","text":"fine"}]}`},
		{"batch", `{"ok":true}`},
		{"stray", `{"ok":true}`},
		{"last-words", `{"content":[{"type":"text","text":"goodbye"}]}`},
		{"unended", `{"content":[{"type":"text","text":"unended"}]}`},
	} {
		t.Run(c.mode, func(t *testing.T) {
			p := newPool(t, nil)
			var events int
			r := request("x", "")
			r.ProgressToken = []byte(`1`)
			res, err := p.Call(t.Context(), target(t, c.mode), r, func(upstream.Event) error { events++; return nil })
			if err != nil || string(res.Raw) != c.want {
				t.Errorf("result %s, error %v, want %s", res.Raw, err, c.want)
			}
			if want := map[string]int{"batch": 1}[c.mode]; events != want {
				t.Errorf("%d events, want %d", events, want)
			}
		})
	}
	t.Run("old", func(t *testing.T) {
		p := newPool(t, nil)
		if d, err := p.Describe(t.Context(), target(t, "old")); d.Version != "2024-11-05" {
			t.Errorf("version %q, error %v", d.Version, err)
		}
	})
}

// G-51: a clear error for the one call, nothing half-delivered; the process goes on.
func TestTooLongAnswer(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "huge")
	to.MaxResponse = 1 << 19
	refused(t, p, to, fault.Unavailable, upstream.ReasonTooLarge, "more than is allowed")
	if got := call(t, p, to, "x", ""); got != "small" {
		t.Errorf("the next call got %q", got)
	}
	to.MaxResponse = 0 // back to 10 MiB, on the same process
	if got := call(t, p, to, "x", ""); len(got) < 1<<20 {
		t.Errorf("an allowed answer has %d bytes", len(got))
	}
	if n := len(p.room); n != 1 {
		t.Errorf("%d processes, want 1", n)
	}
}

// G-53: what did not run, or may run twice, is sent again; nothing else.
func TestRetry(t *testing.T) {
	t.Run("not idempotent", func(t *testing.T) {
		p := newPool(t, nil)
		to := target(t, "crash-once")
		to.Env["MARK"] = filepath.Join(t.TempDir(), "mark")
		refused(t, p, to, fault.Unavailable, upstream.ReasonOutcomeUnknown, "may have run")
		if got := call(t, p, to, "x", ""); got != "second" { // the first restart follows at once
			t.Errorf("the next call got %q", got)
		}
	})
	t.Run("idempotent", func(t *testing.T) {
		p := newPool(t, nil)
		to := target(t, "crash-once")
		to.Env["MARK"] = filepath.Join(t.TempDir(), "mark")
		r := request("x", "")
		r.Idempotent = true
		if res, err := p.Call(t.Context(), to, r, nil); err != nil || textOf(t, res) != "second" {
			t.Errorf("result %s, error %v", res.Raw, err)
		}
	})
	t.Run("never written", func(t *testing.T) {
		p := newPool(t, nil)
		to := target(t, "leaves")
		for range 2 { // the second call cannot go out on the first process
			if got := call(t, p, to, "x", ""); got != "once" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// Exponential back-off: the first restart is free, then each failure costs a pause, and calls in it fail fast.
func TestBackOff(t *testing.T) {
	for _, mode := range []string{"exit", "brief"} {
		t.Run(mode, func(t *testing.T) {
			p := newPool(t, func(c *Config) { c.FirstPause, c.MaxPause = 5*time.Second, time.Minute })
			to := target(t, mode)
			fails := func() fault.Fault {
				_, err := p.Call(t.Context(), to, request("x", ""), nil)
				if fault.KindOf(err) != fault.Unavailable {
					t.Errorf("error is %v", err)
				}
				return *fault.From(err)
			}
			// A call whose process ended before it got the request has used up both starts.
			for n := range 2 {
				if f := fails(); strings.Contains(f.Public, "keeps failing") && (mode == "exit" || n == 0) {
					t.Errorf("paused too early: %v", &f)
				}
			}
			started := time.Now()
			f := refused(t, p, to, fault.Unavailable, upstream.ReasonUnreachable, "keeps failing")
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("a call in the pause took %v", took)
			}
			if f.Retry < time.Second || f.Retry > 8*time.Second {
				t.Errorf("retry after %v", f.Retry)
			}
			p.mu.Lock()
			p.sites[p.keyOf(&to)].notBefore = time.Now()
			p.mu.Unlock()
			fails()
			if f := refused(t, p, to, fault.Unavailable, upstream.ReasonUnreachable, "keeps failing"); f.Retry < 4*time.Second {
				t.Errorf("the pause does not grow: retry after %v", f.Retry)
			}
		})
	}
}

// A server that hangs is found out by a ping after a call timed out, and ended; one that answers it goes on.
func TestHungServerIsEnded(t *testing.T) {
	p := newPool(t, func(c *Config) { c.HungAfter = 300 * time.Millisecond })
	to := target(t, "hung")
	to.CallTimeout = 300 * time.Millisecond
	refused(t, p, to, fault.Timeout, upstream.ReasonTimeout, "in time")
	until(t, "ended", func() bool { return len(p.room) == 0 })

	p = newPool(t, nil)
	to = target(t, "slow")
	call(t, p, to, "x", "")
	slow := to
	slow.CallTimeout = 200 * time.Millisecond
	_, err := p.Call(t.Context(), slow, request("slow", ""), nil)
	wantFault(t, upstream.Result{}, err, fault.Timeout, upstream.ReasonTimeout, "in time")
	until(t, "the ping is answered", func() bool {
		return strings.Contains(call(t, p, to, "x", ""), `"method":"ping"`)
	})
	if n := len(p.room); n != 1 {
		t.Errorf("%d processes, want the one that answers pings", n)
	}
}

// A server that does not read fills its pipe; callers that give up get away, and the others after the write timeout.
func TestDeafServer(t *testing.T) {
	p := newPool(t, func(c *Config) { c.WriteTimeout = 2 * time.Second })
	to := target(t, "deaf")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := p.Call(ctx, to, request("x", strings.Repeat("x", 100_000)), nil)
			if kind := fault.KindOf(err); kind != fault.Timeout && kind != fault.Unavailable {
				t.Errorf("error is %v", err)
			}
		})
	}
	group.Wait()
	until(t, "ended", func() bool { return len(p.room) == 0 })
}
