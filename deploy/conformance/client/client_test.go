// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// runCommand runs the command as the suite does, and returns the site's outcomes.
func runCommand(t *testing.T, f *fakeGateway, version string, excluded ...string) (map[string]error, error) {
	t.Helper()
	t.Setenv(envScenario, "a/scenario_1")
	t.Setenv(envVersion, version)
	return run(t, f, version, excluded...)
}

// runScenario is runCommand for another scenario.
func runScenario(t *testing.T, f *fakeGateway, scenario string) (map[string]error, error) {
	t.Helper()
	t.Setenv(envScenario, scenario)
	t.Setenv(envVersion, modern)
	return run(t, f, modern)
}

func run(t *testing.T, f *fakeGateway, version string, excluded ...string) (map[string]error, error) {
	t.Helper()
	cfg := Config{Publisher: f, Protector: f, Version: version, Excluded: make(map[string]bool)}
	for _, scenario := range excluded {
		cfg.Excluded[scenario] = true
	}
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	environment, err := s.Environment()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	err = Main(t.Context(), []string{"http://localhost:1/mcp"})
	return s.Outcomes(), err
}

// TestUse: in both eras everything is listed and used, and questions are answered, one by one.
func TestUse(t *testing.T) {
	for version, want := range map[string]string{
		modern: `publish a-scenario-1-for-2026-07-28
POST server/discover Method=server/discover Protocol-Version=2026-07-28
POST tools/list Method=tools/list Protocol-Version=2026-07-28
POST tools/list Method=tools/list Protocol-Version=2026-07-28
POST tools/call Method=tools/call Name=ask Protocol-Version=2026-07-28
POST tools/call Method=tools/call Name=mirror Param-To=example Protocol-Version=2026-07-28
POST tools/call Method=tools/call Name=ask Protocol-Version=2026-07-28
state st answered {"action":"accept","content":{"name":"Ada","sure":true}}
POST prompts/list Method=prompts/list Protocol-Version=2026-07-28
POST prompts/get Method=prompts/get Name=p Protocol-Version=2026-07-28
POST resources/list Method=resources/list Protocol-Version=2026-07-28
POST resources/read Method=resources/read Name==?base64?ZmlsZTovLy/DvA==?= Protocol-Version=2026-07-28
withdraw a-scenario-1-for-2026-07-28`,
		"2025-11-25": `publish a-scenario-1-for-2025-11-25
POST initialize
POST notifications/initialized Protocol-Version=2025-11-25 Session-Id=s1
POST tools/list Protocol-Version=2025-11-25 Session-Id=s1
POST tools/list Protocol-Version=2025-11-25 Session-Id=s1
POST tools/call Protocol-Version=2025-11-25 Session-Id=s1
POST - Protocol-Version=2025-11-25 Session-Id=s1
answered {"action":"accept","content":{"name":"Ada","sure":true}}
POST tools/call Protocol-Version=2025-11-25 Session-Id=s1
POST prompts/list Protocol-Version=2025-11-25 Session-Id=s1
POST prompts/get Protocol-Version=2025-11-25 Session-Id=s1
POST resources/list Protocol-Version=2025-11-25 Session-Id=s1
POST resources/read Protocol-Version=2025-11-25 Session-Id=s1
DELETE - Protocol-Version=2025-11-25 Session-Id=s1
withdraw a-scenario-1-for-2025-11-25`,
	} {
		t.Run(version, func(t *testing.T) {
			f := startFake(t)
			outcomes, err := runCommand(t, f, version)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, f.noted()); diff != "" {
				t.Error(diff)
			}
			if err, ran := outcomes["a/scenario_1"]; err != nil || !ran || len(outcomes) != 1 {
				t.Errorf("outcomes %v", outcomes)
			}
		})
	}
}

// TestFailures: what goes wrong is the outcome, and the command fails with it.
func TestFailures(t *testing.T) {
	for want, change := range map[string]func(f *fakeGateway){
		"mirror: [": func(f *fakeGateway) { f.broken = "mirror" },
		"refused":   func(f *fakeGateway) { f.refusing = true },
	} {
		t.Run(want, func(t *testing.T) {
			f := startFake(t)
			change(f)
			outcomes, err := runCommand(t, f, modern)
			if err == nil || !strings.Contains(err.Error(), want) || outcomes["a/scenario_1"] == nil {
				t.Errorf("got %v and %v, want %q", err, outcomes, want)
			}
			if !strings.HasSuffix(f.noted(), "withdraw a-scenario-1-for-2026-07-28") {
				t.Errorf("the gateway stays:\n%s", f.noted())
			}
		})
	}
	t.Run("excluded", func(t *testing.T) {
		f := startFake(t)
		outcomes, err := runCommand(t, f, modern, "a/scenario_1")
		if err == nil || !errors.Is(outcomes["a/scenario_1"], ErrExcluded) || f.noted() != "" {
			t.Errorf("got %v and %v, and %q", err, outcomes, f.noted())
		}
	})
	if err := Main(t.Context(), nil); err == nil {
		t.Error("no URL is no error")
	}
}

// TestJudged: nothing is left out unless it is excluded by name.
func TestJudged(t *testing.T) {
	required := []string{"good", "bad", "fails", "idle", "silent", "lost", "oauth"}
	checks := []suite.Check{
		{Scenario: "good", Status: suite.Success},
		{Scenario: "bad", Status: suite.Failure},
		{Scenario: "bad", Status: suite.Success},
		{Scenario: "fails", Status: suite.Success},
		{Scenario: "idle", Status: suite.Success},
		{Scenario: "silent", Status: suite.Info},
		{Scenario: "oauth", Status: suite.Failure},
	}
	outcomes := map[string]error{"good": nil, "bad": nil, "fails": errors.New("boom"), "silent": nil, "oauth": ErrExcluded}
	got := Judged(required, checks, map[string]bool{"oauth": true, "gone": true}, outcomes)
	ours := func(scenario, problem string) suite.Check {
		return suite.Check{Scenario: scenario, ID: checkID, Name: "Client", Status: suite.Failure, Error: problem}
	}
	want := append(checks[:6:6],
		ours("fails", "boom"), ours("idle", "The suite did not run the client."), ours("silent", "The suite found nothing good."),
		ours("lost", "The suite did not run the client."), ours("gone", "It is not in the requirement set: take it out of excluded.yaml."))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestExcluded: only extensions are excluded.
func TestExcluded(t *testing.T) {
	for set, want := range map[string]int{"2025-11-25": 3, "2026-07-28": 3, "2024-11-05": 0} {
		excluded, err := Excluded(set)
		if err != nil || len(excluded) != want {
			t.Errorf("%s: %d scenarios, %v; want %d", set, len(excluded), err, want)
		}
		for scenario := range maps.Keys(excluded) {
			if !strings.HasPrefix(scenario, "auth/") {
				t.Errorf("%s: %s is excluded", set, scenario)
			}
		}
	}
}

func TestExample(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"object"}`: `{}`,
		`{"type":"object","properties":{"a":{"default":[1]},"b":{"const":2},"c":{"enum":["x","y"]},"d":{"type":"string"},"e":{"type":"integer","minimum":7},
			"f":{"type":"number"},"g":{"type":"boolean"},"h":{"type":"array"},"i":{"type":"null"},"j":{"type":"object","properties":{"k":{"type":"string"}}}}}`: //
		`{"a":[1],"b":2,"c":"x","d":"example","e":7,"f":1,"g":true,"h":[],"i":null,"j":{"k":"example"}}`,
		`{"type":"object","$defs":{"a/b":{"type":"string"}},"properties":{"in":{"$ref":"#/$defs/a~1b"},"out":{"$ref":"http://localhost/s.json"}}}`://
		`{"in":"example"}`,
		`{"type":"object","default":{"n":12345678901234567890}}`: `{"n":12345678901234567890}`,
	} {
		value, err := example(json.RawMessage(schema))
		got, wrong := json.Marshal(value)
		if err := errors.Join(err, wrong); err != nil || string(got) != want {
			t.Errorf("%s\n got %s %v\nwant %s", schema, got, err, want)
		}
	}
	for _, schema := range []string{`[]`, `{"$ref":"#/$defs/none"}`, `{"$ref":"#/a","a":{"$ref":"#/a"}}`} {
		if _, err := example(json.RawMessage(schema)); err == nil {
			t.Errorf("%s: want an error", schema)
		}
	}
}

func TestMirrored(t *testing.T) {
	schema := `{"type":"object","properties":{"a":{"x-mcp-header":"A"},"n":{"x-mcp-header":"N"},"in":{"properties":{"b":{"x-mcp-header":"B"}}},"c":{},
		"gone":{"x-mcp-header":"Gone"},"absent":{"x-mcp-header":"Absent"}}}`
	got, err := mirrored(json.RawMessage(schema), json.RawMessage(`{"a":" ä","n":9007199254740993,"in":{"b":false},"c":"c","gone":null}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"Mcp-Param-A": {"=?base64?IMOk?="}, "Mcp-Param-N": {"9007199254740993"}, "Mcp-Param-B": {"false"}}
	if diff := cmp.Diff(want, map[string][]string(got)); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{"": "", "a b": "a b", "a ": "=?base64?YSA=?=", "\t": "=?base64?CQ==?=", "=?base64?YQ==?=": "=?base64?PT9iYXNlNjQ/WVE9PT89?="} {
		if got := encoded(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
