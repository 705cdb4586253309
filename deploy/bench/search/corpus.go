// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// tool is one tool of the corpus.
type tool struct {
	rank.Document
	Signature string // its arguments on one line, required ones first
	Bytes     int    // length of its definition in a tools/list
}

// readCorpus reads what the record command wrote, servers and tools in a fixed order.
func readCorpus(folder string) ([]tool, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no recorded tools in %s: run go run ./deploy/bench/search/record first", folder)
	}
	slices.Sort(files)
	var tools []tool
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var l struct {
			Server string            `json:"server"`
			Tools  []json.RawMessage `json:"tools"`
		}
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for _, raw := range l.Tools {
			t, err := readTool(l.Server, raw)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			tools = append(tools, t)
		}
	}
	return tools, nil
}

// readTool reads one definition, named as a gateway names it (G-14).
func readTool(server string, raw json.RawMessage) (tool, error) {
	var d struct {
		Name        string `json:"name"`
		Title       string `json:"title"`
		Description string `json:"description"`
		Annotations struct {
			Title string `json:"title"`
		} `json:"annotations"`
		InputSchema struct {
			Required   []string                   `json:"required"`
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"inputSchema"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return tool{}, err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return tool{}, err
	}
	t := tool{Document: rank.Document{Name: server + "__" + d.Name, Title: d.Title, Description: d.Description}, Bytes: line.Len()}
	if t.Title == "" {
		t.Title = d.Annotations.Title
	}
	var need, may []string
	for name, schema := range d.InputSchema.Properties {
		var p struct {
			Type        any    `json:"type"`
			Description string `json:"description"`
		}
		_ = json.Unmarshal(schema, &p) // `true` is a schema too: it says nothing
		t.Arguments = append(t.Arguments, rank.Argument{Name: name, Description: p.Description})
		if slices.Contains(d.InputSchema.Required, name) {
			need = append(need, fmt.Sprintf("%s!:%v", name, p.Type))
		} else {
			may = append(may, fmt.Sprintf("%s?:%v", name, p.Type))
		}
	}
	slices.SortFunc(t.Arguments, func(a, b rank.Argument) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(need)
	slices.Sort(may)
	t.Signature = strings.Join(append(need, may...), "; ")
	return t, nil
}

// kinds of queries, in the order of the table.
func kinds() []string {
	return []string{"direct", "paraphrase", "task", "argument", "typo", "vague", nothing}
}

// nothing is the kind of the queries that no tool fits.
const nothing = "nothing"

// Halves of the queries.
const (
	tuning = "tuning"
	test   = "test"
)

// query is one labelled query.
type query struct {
	ID    string   `json:"id"`
	Kind  string   `json:"kind"`
	Query string   `json:"query"`
	Want  []string `json:"want"` // any of these answers it
	Half  string   `json:"half"`
}

// half is where a query belongs, for ever: by the first byte of the SHA-256 of its id.
func half(id string) string {
	if sha256.Sum256([]byte(id))[0]&1 == 1 {
		return test
	}
	return tuning
}

func readQueries(file string) ([]query, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var queries []query
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		var q query
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return nil, fmt.Errorf("read %s: line %d: %w", file, n, err)
		}
		switch {
		case q.ID == "" || seen[q.ID]:
			return nil, fmt.Errorf("read %s: line %d: id %q: want one that no other line has", file, n, q.ID)
		case !slices.Contains(kinds(), q.Kind):
			return nil, fmt.Errorf("read %s: line %d: kind %q: want one of %v", file, n, q.Kind, kinds())
		case q.Query == "" || (q.Kind == nothing) != (len(q.Want) == 0):
			return nil, fmt.Errorf("read %s: line %d: want a query, and tools unless the kind is %q", file, n, nothing)
		case q.Half != half(q.ID):
			return nil, fmt.Errorf("read %s: line %d: half %q: the hash of %q says %q", file, n, q.Half, q.ID, half(q.ID))
		}
		seen[q.ID] = true
		queries = append(queries, q)
	}
	return queries, lines.Err()
}

// answerable leaves out queries none of whose tools were recorded (their server did not start here), and counts them.
func answerable(queries []query, tools []tool) ([]query, int) {
	names := map[string]bool{}
	for _, t := range tools {
		names[t.Name] = true
	}
	kept := slices.DeleteFunc(slices.Clone(queries), func(q query) bool {
		return q.Kind != nothing && !slices.ContainsFunc(q.Want, func(name string) bool { return names[name] })
	})
	return kept, len(queries) - len(kept)
}
