// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestPiped(t *testing.T) {
	for text, want := range map[string]string{
		"secret": "secret", "secret\n": "secret", "secret\r\n": "secret", "se cret \n\n": "se cret \n", "": "", "\n": "",
	} {
		got, err := Password(t.Context(), strings.NewReader(text), io.Discard, "Password")
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := Password(t.Context(), strings.NewReader(strings.Repeat("x", maxBytes+1)), io.Discard, "Password"); !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v, want it refused", err)
	}
}

// TestPipe: a file that is no terminal is read to its end.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := w.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if got, err := Password(t.Context(), r, &out, "Password"); err != nil || got != "secret" || out.Len() > 0 {
		t.Errorf("got %q, %v, and asked %q", got, err, out.String())
	}
}
