// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// What opens addresses for requests to identity providers (auth.md JW-6, CIMD-5), and what cannot be read, by its setting.
func TestEgressSettings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		allow []string
		ok    bool
	}{
		{"nothing", nil, true},
		{"networks of a host", []string{"idp.internal=10.1.0.0/16", "idp.internal=fd00::/8"}, true},
		{"no network", []string{"idp.internal"}, false},
		{"an address", []string{"idp.internal=10.1.0.1"}, false},
		{"no host", []string{"=10.1.0.0/16"}, false},
	} {
		e := EgressSettings{Allow: tt.allow, AllowLoopback: true}
		p, problem := e.policy()
		if (problem == "") != tt.ok || !p.AllowLoopback || p.AllowPrivate || tt.ok && len(p.Exceptions) != len(tt.allow) {
			t.Errorf("%s: %+v, %q", tt.name, p, problem)
		}
		for i, x := range p.Exceptions {
			if x.Host != "idp.internal" || x.Port != 0 || len(x.Prefixes) != 1 || x.Prefixes[0] != netip.MustParsePrefix(tt.allow[i][len("idp.internal="):]) {
				t.Errorf("%s: %+v", tt.name, x)
			}
		}
		c := Config{Settings: Settings{Egress: e}, Telemetry: &obs.Telemetry{}}
		found := false
		for _, field := range fault.From(c.validate()).Fields {
			found = found || field.Path == "egress.allow"
		}
		if found == tt.ok {
			t.Errorf("%s: refused is %v", tt.name, found)
		}
	}
}

// What the audit can be told, and what is refused, by its setting (G-60).
func TestAuditSettings(t *testing.T) {
	const least = 64 << 10
	for _, tt := range []struct {
		name    string
		a       AuditSettings
		refused []string
	}{
		{"nothing", AuditSettings{}, nil},
		{"drop", AuditSettings{Full: "drop", MaxBytes: least}, nil},
		{"block, with a file", AuditSettings{Full: "block", MaxBytes: least, File: "x", FileSize: least}, nil},
		{"another word", AuditSettings{Full: "wait", MaxBytes: least}, []string{"audit.full"}},
		{"too small", AuditSettings{Full: "drop", MaxBytes: least - 1}, []string{"audit.max_bytes"}},
		{"a file that is too small", AuditSettings{Full: "drop", MaxBytes: least, File: "x", FileSize: least - 1}, []string{"audit.file_size"}},
	} {
		var got []string
		for _, field := range tt.a.problems(fault.New(fault.Invalid, ReasonConfig, "")).Fields {
			got = append(got, field.Path)
		}
		if !slices.Equal(got, tt.refused) {
			t.Errorf("%s: refused %v, want %v", tt.name, got, tt.refused)
		}
	}
	if a := (AuditSettings{}).orDefault(); a.Full != "drop" || a.MaxBytes != 256<<20 {
		t.Errorf("by default: %+v", a)
	}
}

// What an embeddings endpoint can be told, and what is refused at start, by its setting and with what mends it.
func TestEmbeddingSettings(t *testing.T) {
	const url, second = "http://127.0.0.1:11434/v1/embeddings", time.Second
	for name, tt := range map[string]struct {
		s      EmbeddingSettings
		egress EgressSettings
		want   []string // path: problem
	}{
		"off":             {s: EmbeddingSettings{}},
		"on":              {s: EmbeddingSettings{URL: url, Model: "m", Timeout: second}, egress: EgressSettings{AllowLoopback: true}},
		"by an exception": {s: EmbeddingSettings{URL: "http://10.1.2.3/v1/embeddings", Model: "m", Timeout: second}, egress: EgressSettings{Allow: []string{"10.1.2.3=10.1.0.0/16"}}},
		"closed": {
			s:    EmbeddingSettings{URL: url, Model: "m", Timeout: second},
			want: []string{"search.embeddings.url: is refused by the guard on outgoing connections: set egress.allow_loopback, egress.allow_private or egress.allow to open it"},
		},
		"no endpoint": {
			s:    EmbeddingSettings{URL: "https://api.example.com/v1", Timeout: 11 * second},
			want: []string{"search.embeddings.url: has a path that does not end in /embeddings", "search.embeddings.model: is empty", "search.embeddings.timeout: is 11s: want more than 0 and at most 10s"},
		},
		"no URL at all": {s: EmbeddingSettings{URL: "embeddings", Model: "m", Timeout: second}, want: []string{"search.embeddings.url: is not an absolute http or https URL"}},
		"no wait":       {s: EmbeddingSettings{URL: "https://api.example.com/v1/embeddings", Model: "m"}, want: []string{"search.embeddings.timeout: is 0s"}},
		"no URL":        {s: EmbeddingSettings{Model: "m", KeyFile: "x"}, want: []string{"search.embeddings.model: is set without search.embeddings.url", "search.embeddings.key_file: is set without"}},
	} {
		var got []string
		c := Config{Settings: Settings{Egress: tt.egress, Search: SearchSettings{tt.s}}, Telemetry: &obs.Telemetry{}}
		for _, field := range fault.From(c.validate()).Fields {
			if strings.HasPrefix(field.Path, "search.") {
				got = append(got, field.Path+": "+field.Problem)
			}
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// The key of an embeddings endpoint comes from a file, and neither it nor what else is in there is told.
func TestEmbeddingKey(t *testing.T) {
	for name, tt := range map[string]struct{ text, want, problem string }{
		"a line":    {"sk-1\n", "sk-1", ""},
		"empty":     {" \n", "", "holds no key"},
		"two words": {"sk 1", "", "holds no key"},
		"two lines": {"sk-1\nsk-2", "", "holds no key"},
		"too long":  {strings.Repeat("k", 9000), "", "holds no key"},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := EmbeddingSettings{KeyFile: file}.key()
		if key.Reveal() != tt.want || (err == nil) != (tt.problem == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (!strings.Contains(fault.From(err).Fields[0].Problem, tt.problem) || strings.Contains(err.Error(), "sk")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (EmbeddingSettings{KeyFile: filepath.Join(t.TempDir(), "none")}).key(); err == nil || fault.From(err).Fields[0].Path != "search.embeddings.key_file" {
		t.Errorf("no file: %v", err)
	}
}
