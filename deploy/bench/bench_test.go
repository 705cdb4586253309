// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/bench/subject"
)

// TestMain lets this test binary be the program that a measurement starts its servers from.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestSmoke measures for a moment, with a further system that is described by a file: our own reverse proxy, started as a stranger's.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	description := filepath.Join(dir, "stranger.json")
	address := filepath.Join(dir, "address")
	// The shell keeps standard input open, and the proxy prints its URL where {file:…} finds it.
	writeJSON(t, description, map[string]any{
		"name":      "stranger",
		"command":   []string{"/bin/sh", "-c", "sleep 60 | exec " + program + " serve rp {upstream} > " + address},
		"setup":     [][]string{{"/bin/sh", "-c", "until test -s " + address + "; do sleep 0.02; done"}},
		"token":     []string{"/bin/echo", "a-token"},
		"url":       "{file:" + address + "}",
		"tool":      "echo",
		"workloads": []string{"call-modern"},
	})
	out := filepath.Join(dir, "out")
	var printed bytes.Buffer
	if err := run(t.Context(), []string{"-smoke", "-out", out, "-system", description}, nil, &printed); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Rows []jsonRow }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range document.Rows {
		count[r.System]++
		if len(r.Rounds) != 1 || r.Rounds[0].Calls == 0 || r.Rounds[0].Bad != 0 {
			t.Errorf("%s, %s at %d: got %+v, want one round with calls and no bad answer", r.System, r.Workload, r.Concurrency, r.Rounds)
		}
		if r.System == reference && (r.CPURatio == nil || *r.CPURatio != 1) {
			t.Errorf("%s at %d: the reference's ratio to itself is %v, want 1", r.Workload, r.Concurrency, r.CPURatio)
		}
	}
	want := map[string]int{"direct": 4, "rp": 4, "rp-buffered": 4, "mcp-go": 2, "stranger": 2}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("rows per system (-want +got):\n%s", diff)
	}
	for _, w := range workloads() {
		checkSVG(t, filepath.Join(out, w.Name+".svg"))
	}
}

func writeJSON(t *testing.T, file string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkSVG reads a plot to its end as XML.
func checkSVG(t *testing.T, file string) {
	t.Helper()
	reader, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	elements := 0
	for d := xml.NewDecoder(reader); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if _, ok := token.(xml.StartElement); ok {
			elements++
		}
	}
	if elements < 10 {
		t.Errorf("%s has %d elements, want a plot", file, elements)
	}
}

// TestBadAnswersAreCounted: an answer to another request, an error and a wrong status are noticed.
func TestBadAnswersAreCounted(t *testing.T) {
	result := func(text string) string { return `"result":{"content":[{"type":"text","text":"` + text + `"}]}` }
	tests := []struct {
		name   string
		status int
		answer func(request echoRequest, message string) string
		bad    bool
	}{
		{"right", 200, func(r echoRequest, m string) string {
			return `{"jsonrpc":"2.0","id":` + string(r.ID) + `,` + result(m) + `}`
		}, false},
		{"text of another call", 200, func(r echoRequest, m string) string {
			return `{"jsonrpc":"2.0","id":` + string(r.ID) + `,` + result(strings.Replace(m, "token-", "token-9", 1)) + `}`
		}, true},
		{"id of another call", 200, func(_ echoRequest, m string) string { return `{"jsonrpc":"2.0","id":77777777,` + result(m) + `}` }, true},
		{"tool error", 200, func(r echoRequest, m string) string {
			return `{"jsonrpc":"2.0","id":` + string(r.ID) + `,"result":{"isError":true,"content":[{"type":"text","text":"` + m + `"}]}}`
		}, true},
		{"status", 500, func(r echoRequest, m string) string {
			return `{"jsonrpc":"2.0","id":` + string(r.ID) + `,` + result(m) + `}`
		}, true},
		{"no JSON", 200, func(_ echoRequest, m string) string { return m }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var request echoRequest
				var message string
				if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
					t.Error(err)
				}
				if err := json.Unmarshal(request.Params.Arguments.Message, &message); err != nil {
					t.Error(err)
				}
				answer(w, tt.status, tt.answer(request, message))
			}))
			defer server.Close()
			e, err := subject.NewEndpoint(server.URL+"/mcp", "", "echo")
			if err != nil {
				t.Fatal(err)
			}
			v := visit{
				Endpoint: e, Workload: workload{Modern: true}, Concurrency: 2, Duration: 50 * time.Millisecond,
				Usage: func() (subject.Usage, error) { return subject.Usage{}, nil },
			}
			got, err := v.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Calls == 0 || (got.Bad > 0) != tt.bad {
				t.Errorf("got %d calls, %d bad (%s); want bad answers: %t", got.Calls, got.Bad, got.FirstBad, tt.bad)
			}
			rows := []row{{System: "direct", Samples: []sample{got}}}
			fillFigures(rows)
			if (rows[0].Void != "") != tt.bad {
				t.Errorf("void: got %q, want void: %t", rows[0].Void, tt.bad)
			}
		})
	}
}

func TestStatistics(t *testing.T) {
	ms := func(values ...int) (d []time.Duration) {
		for _, v := range values {
			d = append(d, time.Duration(v)*time.Millisecond)
		}
		return d
	}
	for _, tt := range []struct {
		values []time.Duration
		p      float64
		want   time.Duration
	}{
		{nil, 50, 0},
		{ms(7), 99, 7 * time.Millisecond},
		{ms(1, 2, 3, 4), 50, 2 * time.Millisecond},
		{ms(1, 2, 3, 4), 99, 4 * time.Millisecond},
	} {
		if got := percentile(tt.values, tt.p); got != tt.want {
			t.Errorf("percentile %g of %v: got %v, want %v", tt.p, tt.values, got, tt.want)
		}
	}
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, math.NaN()},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 2, 3}, 2.5},
	} {
		if got := median(tt.values); got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("median of %v: got %v, want %v", tt.values, got, tt.want)
		}
	}
}

// TestFillFigures: the figure is the median of the ratios of each round, not the ratio of medians.
func TestFillFigures(t *testing.T) {
	made := func(name string, cpu ...time.Duration) row {
		r := row{System: name}
		for _, c := range cpu {
			r.Samples = append(r.Samples, sample{Calls: 1, CPU: c, P50: c, P99: c})
		}
		return r
	}
	rows := []row{made("direct", 1, 1, 1), made("rp", 10, 20, 100), made("other", 5, 40, 80)}
	fillFigures(rows)
	if got := rows[2].CPURatio; got != 0.8 {
		t.Errorf("CPU ratio: got %v, want 0.8", got)
	}
	if got, want := rows[2].AddedP50Ratio, 79.0/99; got != want {
		t.Errorf("added p50: got %v, want %v", got, want)
	}
	if !math.IsNaN(rows[0].CPURatio) {
		t.Errorf("direct has a ratio: %v", rows[0].CPURatio)
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, args := range [][]string{
		{"-concurrency", "x"}, {"-concurrency", "0"}, {"-concurrency", "2000"}, {"-workloads", "nope"}, {"-nope"}, {"nope"},
	} {
		if _, err := parseSettings(args); err == nil {
			t.Errorf("%v: got no error", args)
		}
	}
	if _, err := newHandler(t.Context(), "nope", "http://127.0.0.1:1"); err == nil {
		t.Error("got no error for an unknown kind of server")
	}
	if _, err := newHandler(t.Context(), "rp", ":"); err == nil {
		t.Error("got no error for an upstream that is no URL")
	}
}
