// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
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
	unit           string  // of the figure, as the benchmark prints it; ns/op if empty
	goalNS         float64 // zero is none
	goal           string
}

// rooms are the benchmarks that are run: what a first call is made of.
func rooms() []room {
	const (
		authn, credential      = "dataplane/internal/authn", "dataplane/internal/credential"
		vault, upstream        = "authserver/internal/vault", "authserver/internal/upstream"
		accessToken, microsecs = "AccessToken", 1000
		policy, search         = "dataplane/internal/policy", "dataplane/internal/search"
		findAll, findSome      = "Find/all", "Find/some"
	)
	return []room{
		{Name: "P-8 verification of an access token, cached", dir: authn, benchmark: accessToken + "/cached", goalNS: 2 * microsecs, goal: "≤ 2 µs"},
		{Name: "P-8 verification of an access token, cold", dir: authn, benchmark: accessToken + "/cold", goalNS: 120 * microsecs, goal: "≤ 120 µs"},
		{Name: "P-10 policy evaluation, 50 policies on the gateway, 3 cover the tool", dir: policy, benchmark: "Decide/50_policies,_3_cover_the_tool", goalNS: 20 * microsecs, goal: "≤ 20 µs"},
		{Name: "P-10 policy evaluation, 50 policies, all cover the tool", dir: policy, benchmark: "Decide/50_policies,_all_cover_the_tool"},
		{Name: "P-11 search_tools over 10,000 tools, p50", dir: search, benchmark: findAll, unit: "p50-ns"},
		{Name: "P-11 search_tools over 10,000 tools, p99", dir: search, benchmark: findAll, unit: "p99-ns", goalNS: 5000 * microsecs, goal: "≤ 5 ms"},
		{Name: "P-11 the same, where something was taken away, p50", dir: search, benchmark: findSome, unit: "p50-ns"},
		{Name: "P-11 the same, where something was taken away, p99", dir: search, benchmark: findSome, unit: "p99-ns", goalNS: 5000 * microsecs, goal: "≤ 5 ms"},
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
		if r.NS, err = nanoseconds(out.String(), r.benchmark, cmp.Or(r.unit, "ns/op")); err != nil {
			return nil, fmt.Errorf("benchmark of %s: %w", filepath.Base(r.dir), err)
		}
	}
	return measured, nil
}

// nanoseconds reads the times of one benchmark, by their unit, out of what the go command printed, and returns their median.
func nanoseconds(printed, benchmark, unit string) (float64, error) {
	var times []float64
	for _, m := range regexp.MustCompile(`(?m)^Benchmark`+regexp.QuoteMeta(benchmark)+`(?:-\d+)?\s.*?\s([0-9.]+) `+regexp.QuoteMeta(unit)+`(?:\s|$)`).FindAllStringSubmatch(printed, -1) {
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
