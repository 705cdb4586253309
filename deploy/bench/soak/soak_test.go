// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{"-sessions", "0"}, {"-every", "10s", "-duration", "15s"}, {"more"}, {"-none"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

func TestGrowth(t *testing.T) {
	still := reading{Goroutines: 100, Live: 1000}
	tests := []struct {
		name string
		last reading
		lost int
		want string
	}{
		{"still", reading{Goroutines: 104, Live: 1040}, 0, ""},
		{"goroutines", reading{Goroutines: 106, Live: 1000}, 0, "goroutines grew from 100 to 106"},
		{"memory", reading{Goroutines: 100, Live: 1060}, 0, "live memory grew from 1000 to 1060"},
		{"lost", still, 2, "2 streams ended by themselves"},
	}
	for _, tt := range tests {
		r := result{Sessions: 1, Readings: []reading{{Goroutines: 500, Live: 5000}, still, tt.last}, Lost: tt.lost}
		if err := r.growth(); (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if !strings.Contains(r.plot(), "goroutines") {
			t.Errorf("%s: no plot", tt.name)
		}
	}
}
