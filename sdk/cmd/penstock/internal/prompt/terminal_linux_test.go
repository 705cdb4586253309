// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal opens a pseudo-terminal: what a person types goes into keyboard, whose other end is screen.
func terminal(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	var number, unlocked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlocked} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	screen, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return keyboard, screen
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, screen *os.File) bool {
	t.Helper()
	settings, err := stty(t.Context(), screen, "-a")
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(settings, "-echo ")
}

// typist answers each question with the next line, and notes whether the terminal would have shown it.
type typist struct {
	t        *testing.T
	keyboard io.Writer
	screen   *os.File
	lines    []string
	shown    bool
}

// Write implements io.Writer: it is where the questions go.
func (p *typist) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), ": ") && len(p.lines) > 0 {
		p.shown = p.shown || echoes(p.t, p.screen)
		if _, err := io.WriteString(p.keyboard, p.lines[0]+"\n"); err != nil {
			p.t.Error(err)
		}
		p.lines = p.lines[1:]
	}
	return len(b), nil
}

// TestTerminal: what is typed is not shown, and the terminal is afterwards as it was.
func TestTerminal(t *testing.T) {
	for name, tt := range map[string]struct {
		lines []string
		want  string
		err   error
	}{
		"twice the same": {[]string{"secret one", "secret one"}, "secret one", nil},
		"different":      {[]string{"secret one", "secret two"}, "", ErrDiffer},
	} {
		t.Run(name, func(t *testing.T) {
			keyboard, screen := terminal(t)
			p := &typist{t: t, keyboard: keyboard, screen: screen, lines: tt.lines}
			got, err := Password(t.Context(), screen, p, "Password")
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
			if p.shown {
				t.Error("the terminal showed what was typed")
			}
			if !echoes(t, screen) {
				t.Error("the terminal stays silent afterwards")
			}
			if _, err := io.WriteString(screen, "end\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(keyboard).ReadString('\n'); err != nil || strings.Contains(line, "secret") {
				t.Errorf("the screen has %q, %v", line, err)
			}
		})
	}
}

// TestInterrupt: the terminal shows again what is typed.
func TestInterrupt(t *testing.T) {
	_, screen := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	asked := func(b []byte) (int, error) { cancel(); return len(b), nil }
	if _, err := Password(ctx, screen, writer(asked), "Password"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the interrupt", err)
	}
	if !echoes(t, screen) {
		t.Error("the terminal stays silent")
	}
}

type writer func([]byte) (int, error)

// Write implements io.Writer.
func (w writer) Write(b []byte) (int, error) { return w(b) }
