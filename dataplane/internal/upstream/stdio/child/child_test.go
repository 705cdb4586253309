// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

func TestRing(t *testing.T) {
	line := strings.Repeat("x", 99) + "\n"
	for _, c := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"nothing", nil, ""},
		{"a little", []string{"a\n", "b"}, "a\nb"},
		{"exactly full", []string{strings.Repeat("y", ringSize)}, strings.Repeat("y", ringSize)},
		{"over, from a line on", []string{strings.Repeat(line, 700), "last\n"}, strings.Repeat(line, (ringSize-5)/100) + "last\n"},
		{"over, byte by byte", strings.Split(strings.Repeat(line, 700)+"last\n", ""), strings.Repeat(line, (ringSize-5)/100) + "last\n"},
		{"one write of more than all", []string{"first\n" + strings.Repeat(line, 700)}, strings.Repeat(line, ringSize/100)},
		{"one line of more than all", []string{strings.Repeat("z", 2*ringSize)}, ""},
		{"not UTF-8", []string{"a\xff\n"}, "a\uFFFD\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Ring
			for _, w := range c.writes {
				if n, err := io.WriteString(&r, w); n != len(w) || err != nil {
					t.Fatal(n, err)
				}
			}
			if got := r.Text(nil); got != c.want {
				t.Errorf("%d bytes, want %d; differs (-want +got):\n%s", len(got), len(c.want), cmp.Diff(c.want, got))
			}
			if len(r.buf) > ringSize {
				t.Errorf("%d bytes are kept", len(r.buf))
			}
		})
	}
}

func TestRingRedacts(t *testing.T) {
	secrets := map[string]obs.Secret{
		"LONG": "s3cret-and-more", "PART": "s3cret", "PEM": "-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----\n", "SHORT": "on", "EMPTY": "",
	}
	var r Ring
	_, _ = io.WriteString(&r, "token s3cret-and-more, s3cret on\n  MIIEvQ\n\n")
	if got, want := r.Text(secrets), "token [redacted], [redacted] on\n  [redacted]\n\n"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if got, want := r.LastLine(secrets), "[redacted]"; got != want {
		t.Errorf("last line is %q, want %q", got, want)
	}
	// The beginning that was lost may have cut a secret in two.
	var over Ring
	_, _ = io.WriteString(&over, "s3cret-and-more "+strings.Repeat("x", ringSize-10)+"\nend\n")
	if got, want := over.Text(secrets), "end\n"; got != want {
		t.Errorf("text is %d bytes, want %q", len(got), want)
	}
	_, _ = io.WriteString(&over, strings.Repeat("e", 1000)+"!\n")
	if got := over.LastLine(nil); len(got) != 300 || !strings.HasSuffix(got, "e!") {
		t.Errorf("last line is %q", got)
	}
}

func TestSpecRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		spec Spec
	}{
		{"no command", Spec{}},
		{"relative path", Spec{Command: "./sh"}},
		{"path with a parent", Spec{Command: "bin/sh"}},
		{"not in the PATH", Spec{Command: "penstock-no-such-command"}},
		{"empty name", Spec{Command: "/bin/true", Env: map[string]string{"": "x"}}},
		{"name with =", Spec{Command: "/bin/true", Env: map[string]string{"A=B": "hunter2"}}},
		{"name with NUL", Spec{Command: "/bin/true", Env: map[string]string{"A\x00": "hunter2"}}},
		{"secret with NUL", Spec{Command: "/bin/true", Secrets: map[string]obs.Secret{"A": "hunter2\x00"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Start(&c.spec)
			if !errors.Is(err, ErrSpec) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := Start(&Spec{Command: filepath.Join(t.TempDir(), "none")}); err == nil || errors.Is(err, ErrSpec) {
		t.Errorf("a missing file gives %v", err)
	}
}

// A bare name is found in this process's PATH, which the program itself does not get.
func TestPathIsOurs(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	p, out := run(t, &Spec{Command: "env", Env: map[string]string{"B": "2", "A": "0"}, Secrets: map[string]obs.Secret{"A": "1"}, Dir: t.TempDir()})
	if want := "A=1\nB=2\n"; out != want {
		t.Errorf("the environment is %q, want %q", out, want)
	}
	if exit := <-p; exit != "exit status 0" {
		t.Errorf("it ended with %q", exit)
	}
}

func TestWaitTellsHowItEnded(t *testing.T) {
	for script, want := range map[string]string{"exit 3": "exit status 3", "kill -9 $$": "signal: killed"} {
		exit, _ := run(t, &Spec{Command: "/bin/sh", Args: []string{"-c", script}})
		if got := <-exit; got != want {
			t.Errorf("%s ended with %q, want %q", script, got, want)
		}
	}
}

// Signals after the end must not reach whoever has the process id then.
func TestSignalsAfterTheEndGoNowhere(t *testing.T) {
	p, err := Start(&Spec{Command: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Wait()
	p.cmd.Process.Pid = os.Getpid() // had it been reused, the signal would hit us
	p.Kill()
	p.Stop(time.Millisecond)
	if !p.reaped {
		t.Error("the process counts as running")
	}
}

func TestStandardErrorIsCopied(t *testing.T) {
	p, err := Start(&Spec{Command: "/bin/sh", Args: []string{"-c", "echo one >&2; echo two >&2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var r Ring
	p.CopyErrors(&r)
	p.Wait()
	if got, want := r.Text(nil), "one\ntwo\n"; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
}

// run starts a program and returns how it ended, to come, and what it wrote.
func run(t *testing.T, s *Spec) (exit <-chan string, out string) {
	t.Helper()
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 1)
	go func() { ended <- p.Wait() }()
	b, err := io.ReadAll(p.Out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return ended, string(b)
}
