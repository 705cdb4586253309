// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{"more"}, {"-none"}, {"-corpus", t.TempDir()}} {
		if err := run(t.Context(), args, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

// TestQueries: the labelled queries of the repository are as the goals want them.
func TestQueries(t *testing.T) {
	queries, err := readQueries("queries.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	count, texts := map[string]int{}, map[string]bool{}
	for _, q := range queries {
		count[q.Kind]++
		count[q.Half]++
		if texts[q.Query] {
			t.Errorf("%q is there twice", q.Query)
		}
		texts[q.Query] = true
		for _, name := range q.Want {
			if server, tool, found := strings.Cut(name, "__"); !found || server == "" || tool == "" {
				t.Errorf("%s: %q is not server__tool", q.ID, name)
			}
		}
	}
	for _, kind := range kinds() {
		if count[kind] < 20 {
			t.Errorf("%d queries of kind %s, want at least 20", count[kind], kind)
		}
	}
	if len(queries) < 300 || count[tuning] < len(queries)*2/5 || count[test] < len(queries)*2/5 {
		t.Errorf("%d queries, %d tuning, %d test: want at least 300 in two halves", len(queries), count[tuning], count[test])
	}
}

func TestReadQueriesRefuses(t *testing.T) {
	line := func(id, kind, query, want, half string) string {
		return fmt.Sprintf(`{"id":%q,"kind":%q,"query":%q,"want":%s,"half":%q}`, id, kind, query, want, half)
	}
	good := line("q1", "direct", "x", `["a__b"]`, half("q1"))
	for name, row := range map[string]struct{ text, want string }{
		"no JSON":              {"x", "line 1: invalid character"},
		"no id":                {line("", "direct", "x", `["a__b"]`, half("")), `line 1: id "": want one that no other line has`},
		"id twice":             {good + "\n" + good, `line 2: id "q1": want one that no other line has`},
		"unknown kind":         {line("q1", "odd", "x", `["a__b"]`, half("q1")), `line 1: kind "odd": want one of [direct`},
		"no query":             {line("q1", "direct", "", `["a__b"]`, half("q1")), "line 1: want a query, and tools unless"},
		"no tools":             {line("q1", "direct", "x", `[]`, half("q1")), "line 1: want a query, and tools unless"},
		"tools where nothing":  {line("q1", "nothing", "x", `["a__b"]`, half("q1")), "line 1: want a query, and tools unless"},
		"half of its own will": {line("q1", "direct", "x", `["a__b"]`, map[string]string{tuning: test, test: tuning}[half("q1")]), "line 1: half "},
	} {
		file := filepath.Join(t.TempDir(), "queries.jsonl")
		if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readQueries(file); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
}

// small writes a corpus of six tools, with queries for them of both halves.
func small(t *testing.T) (corpus, queries string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("hub.json", `{"server":"hub","tools":[
		{"name":"create_issue","description":"Create a new issue in a repository","inputSchema":{"type":"object","required":["title"],"properties":{"body":{"type":"string"},"title":{"type":"string","description":"Short text"},"any":true}}},
		{"name":"list_branches","annotations":{"title":"Branches"},"description":"List branches","inputSchema":{"type":"object"}},
		{"name":"merge_pull_request","description":"Merge a pull request","inputSchema":{"type":"object"}}]}`)
	write("chat.json", `{"server":"chat","tools":[
		{"name":"post_message","description":"Post a message to a channel","inputSchema":{"type":"object"}},
		{"name":"list_channels","description":"List channels","inputSchema":{"type":"object"}},
		{"name":"add_reaction","description":"Add an emoji to a message","inputSchema":{"type":"object"}}]}`)
	var lines []string
	for n := range 40 {
		for _, q := range []query{
			{Kind: "direct", Query: "create an issue", Want: []string{"hub__create_issue"}},
			{Kind: "paraphrase", Query: "raise ticket", Want: []string{"hub__create_issue"}},
			{Kind: "typo", Query: "post mesage", Want: []string{"chat__post_message"}},
			{Kind: nothing, Query: "zebra crossing"},
			{Kind: "direct", Query: "create an issue", Want: []string{"gone__create_issue"}},
			{Kind: "task", Query: "list channels, branches", Want: []string{"chat__list_channels"}}, // second best
		} {
			q.ID = fmt.Sprintf("%s-%d-%d", q.Kind, len(lines), n)
			q.Half = half(q.ID)
			text, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(text))
		}
	}
	return dir, write("queries.jsonl", strings.Join(lines, "\n"))
}

func TestReadCorpus(t *testing.T) {
	dir, _ := small(t)
	tools, err := readCorpus(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(tools) != 6 || tools[0].Name != "chat__post_message" || tools[4].Title != "Branches" {
		t.Fatalf("tools: %+v", tools)
	}
	if diff := cmp.Diff("title!:string; any?:<nil>; body?:string", tools[3].Signature); diff != "" {
		t.Errorf("signature (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte(`{"tools":[3]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readCorpus(dir); err == nil || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("a broken list: got %v", err)
	}
}

// TestMeasure: each system gets what it earned, queries for tools that are not there are left out, misses are those of the tuning half.
func TestMeasure(t *testing.T) {
	corpus, queries := small(t)
	out := t.TempDir()
	var table bytes.Buffer
	if err := run(t.Context(), []string{"-corpus", corpus, "-queries", queries, "-out", out, "-misses"}, &table); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "search.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Tools != 6 || r.Servers != 2 || r.LeftOut != 40 || r.Queries != 200 {
		t.Errorf("counts: %+v", r)
	}
	for _, half := range []string{tuning, test} {
		for _, row := range []struct {
			system, kind string
			at1, at5     float64
		}{
			{ranked, "direct", 1, 1},
			{ranked, "paraphrase", 1, 1},
			{ranked, "typo", 1, 1},
			{ranked, nothing, 1, 1},
			{ranked, "task", 0, 1},
			{unlearned, "direct", 1, 1},
			{unlearned, "paraphrase", 0, 0},
			{unlearned, "typo", 1, 1},
			{plain, "direct", 1, 1},
			{plain, "paraphrase", 0, 0},
			{plain, nothing, 1, 1},
			{literal, "direct", 1, 1},
			{literal, nothing, 1, 1},
		} {
			if s := r.of(row.system, half, row.kind); s.Queries == 0 || s.At1 != row.at1 || s.At5 != row.at5 {
				t.Errorf("%s, %s half, %s: got %+v, want recall %v and %v", row.system, half, row.kind, s, row.at1, row.at5)
			}
		}
		if s := r.of(ranked, half, "task"); s.MRR >= 1 || s.MRR < 0.2 {
			t.Errorf("MRR of second and later places: %v", s.MRR)
		}
		if n, fit, no := r.of(ranked, half, all).Queries, r.of(ranked, half, fitting).Queries, r.of(ranked, half, nothing).Queries; n != fit+no {
			t.Errorf("%d queries, %d that fit, %d that fit nothing", n, fit, no)
		}
	}
	if r.ListTokens <= 0 || r.SearchTokens <= 0 || r.BuildSeconds <= 0 || r.P99Micros < r.P50Micros {
		t.Errorf("a figure is missing: %+v", r)
	}
	for _, want := range []string{"test half", "recall@5, paraphrase", "plain BM25", "tokens saved"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in the table:\n%s", want, &table)
		}
	}
}

// TestMisses: a miss of the tuning half is told, one of the test half never.
func TestMisses(t *testing.T) {
	corpus, _ := small(t)
	file := filepath.Join(t.TempDir(), "queries.jsonl")
	var lines []string
	for n := range 50 {
		id := fmt.Sprintf("m%d", n)
		lines = append(lines, fmt.Sprintf(`{"id":%q,"kind":"vague","query":"zebra%d","want":["hub__create_issue"],"half":%q}`, id, n, half(id)))
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	err := run(t.Context(), []string{"-corpus", corpus, "-queries", file, "-misses", "-check"}, &table)
	if err == nil || !strings.Contains(err.Error(), "goals missed: [recall@5 0.00 (0.83)") {
		t.Errorf("-check: got %v", err)
	}
	for n := range 50 {
		id := fmt.Sprintf("m%d", n)
		if told := strings.Contains(table.String(), id+" vague"); told != (half(id) == tuning) {
			t.Errorf("%s of the %s half: told %t", id, half(id), told)
		}
	}
	if !strings.Contains(table.String(), "MISSED") {
		t.Errorf("no missed goal in\n%s", &table)
	}
}

// TestPlace: what counts as an answer.
func TestPlace(t *testing.T) {
	tools := []tool{{}, {}, {}}
	for i := range tools {
		tools[i].Name = fmt.Sprintf("s__%d", i)
	}
	for name, row := range map[string]struct {
		query query
		hits  []hit
		want  int
	}{
		"first of two wanted":      {query{Kind: "direct", Want: []string{"s__2", "s__1"}}, []hit{{Doc: 0}, {Doc: 1}, {Doc: 2}}, 2},
		"not found":                {query{Kind: "direct", Want: []string{"s__2"}}, []hit{{Doc: 0}}, 0},
		"nothing, none found":      {query{Kind: nothing}, nil, 1},
		"nothing, guesses only":    {query{Kind: nothing}, []hit{{Doc: 0, Low: true}}, 1},
		"nothing, one is no guess": {query{Kind: nothing}, []hit{{Doc: 0, Low: true}, {Doc: 1}}, 0},
	} {
		if got := place(row.query, tools, row.hits); got != row.want {
			t.Errorf("%s: got %d, want %d", name, got, row.want)
		}
	}
}

// TestReranked: with an endpoint there are rows with re-ranking, for queries that words do not answer, and what it costs; without a
// model's name, or with an endpoint that says no, there is an error and no figure.
func TestReranked(t *testing.T) {
	corpus, queries := small(t)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Model string
			Input []string
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Model != "letters" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		type vector struct {
			Embedding []float64 `json:"embedding"`
		}
		answer := struct {
			Data []vector `json:"data"`
		}{}
		for _, text := range asked.Input { // a ticket is an issue to it
			v := vector{[]float64{0.1, 1}}
			if strings.Contains(text, "ticket") || strings.Contains(text, "issue") {
				v.Embedding = []float64{1, 0.1}
			}
			answer.Data = append(answer.Data, v)
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer endpoint.Close()
	url, out := endpoint.URL+"/v1/embeddings", t.TempDir()
	var table bytes.Buffer
	if err := run(t.Context(), []string{"-corpus", corpus, "-queries", queries, "-out", out, "-embeddings", url, "-model", "letters"}, &table); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "search.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{tuning, test} {
		for system, want := range map[string]float64{unlearned: 0, rerankedBare: 1, reranked: 1} {
			if s := r.of(system, half, "paraphrase"); s.Queries == 0 || s.At1 != want {
				t.Errorf("%s, %s half: got %+v, want recall %v", system, half, s, want)
			}
		}
	}
	if e := r.Embeddings; e == nil || e.Model != "letters" || e.IndexSeconds <= 0 || e.WaitP99 < e.WaitP50 || e.P50Micros <= 0 || !strings.Contains(table.String(), "re-ranked by letters") {
		t.Errorf("costs: %+v", e)
	}
	for _, args := range [][]string{{"-embeddings", url}, {"-embeddings", url, "-model", "other"}, {"-embeddings", endpoint.URL, "-model", "letters"}} {
		table.Reset()
		if err := run(t.Context(), append(args, "-corpus", corpus, "-queries", queries), &table); err == nil || table.Len() > 0 {
			t.Errorf("%q: got %v and %d bytes of figures", args, err, table.Len())
		}
	}
}
