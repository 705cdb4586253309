// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// room is a benchmark of a room of the product, by what it measures.
type room struct {
	Name string  `json:"name"`
	NS   float64 `json:"ns"` // per operation, median of the rounds

	dir, benchmark string
	goalNS         float64 // zero is none
	goal           string
}

// rooms are the benchmarks that are run: what a first call is made of.
func rooms() []room {
	const (
		authn, credential      = "dataplane/internal/authn", "dataplane/internal/credential"
		vault, upstream        = "authserver/internal/vault", "authserver/internal/upstream"
		accessToken, microsecs = "AccessToken", 1000
	)
	return []room{
		{Name: "P-8 verification of an access token, cached", dir: authn, benchmark: accessToken + "/cached", goalNS: 2 * microsecs, goal: "≤ 2 µs"},
		{Name: "P-8 verification of an access token, cold", dir: authn, benchmark: accessToken + "/cold", goalNS: 120 * microsecs, goal: "≤ 120 µs"},
		{Name: "credential in the node's cache, any kind", dir: credential, benchmark: "Hit"},
		{Name: "credential that the node asks for: its own part", dir: credential, benchmark: "Miss"},
		{Name: "static headers, at the authserver", dir: vault, benchmark: "Resolve"},
		{Name: "token of an OAuth grant, at the authserver", dir: upstream, benchmark: "Resolve/grant"},
		{Name: "token that Penstock makes (client credentials), at the authserver", dir: upstream, benchmark: "Resolve/service"},
		{Name: "token that the caller's was exchanged for, at the authserver", dir: "authserver/internal/exchange", benchmark: "Resolve"},
	}
}

// measureRooms runs the benchmarks with the go command.
func measureRooms(ctx context.Context, s settings) ([]room, error) {
	measured := rooms()
	for i := range measured {
		r := &measured[i]
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark"+strings.ReplaceAll(r.benchmark, "/", "$/^")+"$", "-benchtime", s.Rooms, "-count", strconv.Itoa(s.Rounds), "./"+r.dir)
		cmd.Dir = s.Root
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("benchmark of %s: %w\n%s", filepath.Base(r.dir), err, out.String())
		}
		var err error
		if r.NS, err = nanoseconds(out.String(), r.benchmark); err != nil {
			return nil, fmt.Errorf("benchmark of %s: %w", filepath.Base(r.dir), err)
		}
	}
	return measured, nil
}

// nanoseconds reads the times of one benchmark out of what the go command printed, and returns their median.
func nanoseconds(printed, benchmark string) (float64, error) {
	var times []float64
	for _, m := range regexp.MustCompile(`(?m)^Benchmark`+regexp.QuoteMeta(benchmark)+`(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`).FindAllStringSubmatch(printed, -1) {
		one, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		times = append(times, one)
	}
	if len(times) == 0 {
		return 0, fmt.Errorf("no figure of %s in:\n%s", benchmark, printed)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
