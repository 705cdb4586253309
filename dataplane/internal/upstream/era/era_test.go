// SPDX-License-Identifier: Apache-2.0

package era

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func rpc(code int, message, data string) []byte {
	return fmt.Appendf(nil, `{"code":%d,"message":%q,"data":%s}`, code, message, data)
}

func TestOfDiscover(t *testing.T) {
	tests := []struct {
		name string
		a    Answer
		want Finding
	}{
		{"modern", Answer{200, []byte(`{"supportedVersions":["2025-11-25","2026-07-28"]}`), nil}, Finding{Conclusion: Speaks, Version: wire.V20260728}},
		{"legacy only", Answer{200, []byte(`{"supportedVersions":["2025-03-26","2025-06-18"]}`), nil}, Finding{Conclusion: Ask, Version: wire.V20250618}},
		{"no list", Answer{200, []byte(`{}`), nil}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"list of nonsense", Answer{200, []byte(`{"supportedVersions":[1,{}]}`), nil}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"none of ours", Answer{200, []byte(`{"supportedVersions":["2031-01-01"]}`), nil}, Finding{Conclusion: Foreign, Listed: []wire.Version{"2031-01-01"}}},
		{"-32022 legacy", Answer{400, nil, rpc(-32022, "", `{"supported":["2025-11-25"]}`)}, Finding{Conclusion: Ask, Version: wire.V20251125}},
		{"-32022 without data", Answer{400, nil, rpc(-32022, "", `null`)}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"-32022 none", Answer{400, nil, rpc(-32022, "", `{"supported":["x"]}`)}, Finding{Conclusion: Foreign, Listed: []wire.Version{"x"}}},
		{"-32020", Answer{400, nil, rpc(-32020, "", `null`)}, Finding{Conclusion: Broken}},
		{"-32021", Answer{400, nil, rpc(-32021, "", `null`)}, Finding{Conclusion: Broken}},
		{"-32020 in a 200", Answer{200, nil, rpc(-32020, "", `null`)}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"401 with JSON-RPC", Answer{401, nil, rpc(-32022, "", `null`)}, Finding{Conclusion: Refused}},
		{"403", Answer{403, nil, nil}, Finding{Conclusion: Refused}},
		{"429", Answer{429, nil, nil}, Finding{Conclusion: Refused}},
		{"404", Answer{404, nil, nil}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"503", Answer{503, nil, nil}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
		{"error in a 200", Answer{200, nil, rpc(-32601, "", `null`)}, Finding{Conclusion: Ask, Version: wire.LatestLegacy}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, OfDiscover(tt.a)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestOfRefusedInitialize(t *testing.T) {
	modern := Finding{Conclusion: Speaks, Version: wire.V20260728}
	tests := []struct {
		name   string
		a      Answer
		want   Finding
		legacy bool // a legacy server may say this
	}{
		{"404 -32601", Answer{404, nil, rpc(-32601, "", "null")}, modern, false},
		{"400 -32022", Answer{400, nil, rpc(-32022, "", "null")}, modern, false},
		{"400 -32020", Answer{400, nil, rpc(-32020, "", "null")}, modern, false},
		{"200 -32603", Answer{200, nil, rpc(-32603, "", "null")}, Finding{Conclusion: Refused}, true},
		{"401", Answer{401, nil, nil}, Finding{Conclusion: Refused}, true},
		{"429", Answer{429, nil, nil}, Finding{Conclusion: Refused}, true},
		{"500", Answer{500, nil, nil}, Finding{Conclusion: Refused}, true},
		{"404 bare", Answer{404, nil, nil}, Finding{Conclusion: NoServer}, true},
		{"405", Answer{405, nil, nil}, Finding{Conclusion: NoServer}, true},
		{"405 in JSON-RPC", Answer{405, nil, rpc(-32000, "", "null")}, Finding{Conclusion: NoServer}, true},
		{"400 -32602", Answer{400, nil, rpc(-32602, "", "null")}, Finding{Conclusion: NoServer}, true},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, OfRefusedInitialize(tt.a)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		if NotLegacy(tt.a) == tt.legacy {
			t.Errorf("%s: NotLegacy %v", tt.name, !tt.legacy)
		}
	}
}

func TestRequiredCapabilities(t *testing.T) {
	for _, tt := range []struct{ object, want string }{
		{string(rpc(-32021, "", `{"requiredCapabilities":{"a":{}}}`)), `{"a":{}}`},
		{string(rpc(-32021, "", `{"requiredCapabilities":[]}`)), ""},
		{string(rpc(-32021, "", `{}`)), ""},
		{string(rpc(-32021, "", `null`)), ""},
		{string(rpc(-32020, "", `{"requiredCapabilities":{"a":{}}}`)), ""},
	} {
		if got := string(RequiredCapabilities([]byte(tt.object))); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.object, got, tt.want)
		}
	}
}

func TestContradicts(t *testing.T) {
	tests := []struct {
		name string
		v    wire.Version
		a    Answer
		want bool
	}{
		{"modern, bare 404", wire.V20260728, Answer{404, nil, nil}, true},
		{"modern, no session", wire.V20260728, Answer{400, nil, rpc(-32000, "", "null")}, true},
		{"modern, invalid request", wire.V20260728, Answer{400, nil, rpc(-32600, "", "null")}, true},
		{"modern, version", wire.V20260728, Answer{400, nil, rpc(-32022, "", "null")}, true},
		{"modern, method", wire.V20260728, Answer{404, nil, rpc(-32601, "", "null")}, false},
		{"modern, params", wire.V20260728, Answer{400, nil, rpc(-32602, "", "null")}, false},
		{"modern, header", wire.V20260728, Answer{400, nil, rpc(-32020, "", "null")}, false},
		{"modern, 429", wire.V20260728, Answer{429, nil, nil}, false},
		{"modern, 500", wire.V20260728, Answer{500, nil, nil}, false},
		{"modern, error in a 200", wire.V20260728, Answer{200, nil, rpc(-32000, "", "null")}, false},
		{"modern, result", wire.V20260728, Answer{200, []byte("{}"), nil}, false},
		{"legacy, version", wire.V20251125, Answer{400, nil, rpc(-32022, "", "null")}, true},
		{"legacy, bare 400", wire.V20251125, Answer{400, nil, nil}, false},
	}
	for _, tt := range tests {
		if got := Contradicts(tt.v, tt.a); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestSessionGone(t *testing.T) {
	tests := []struct {
		name string
		a    Answer
		want bool
	}{
		{"404", Answer{404, nil, nil}, true},
		{"400 about it", Answer{400, nil, rpc(-32000, "No valid SESSION id", "null")}, true},
		{"400 about else", Answer{400, nil, rpc(-32602, "no", "null")}, false},
		{"400 bare", Answer{400, nil, nil}, false},
		{"200 about it", Answer{200, nil, rpc(-32000, "session", "null")}, false},
	}
	for _, tt := range tests {
		if got := SessionGone(tt.a); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestError(t *testing.T) {
	for raw, want := range map[string]string{
		`{"code":-32602,"message":"no \"x\""}`:                    `JSON-RPC error -32602: no "x"`,
		`{"code":1,"message":"` + strings.Repeat("a", 300) + `"}`: "JSON-RPC error 1: " + strings.Repeat("a", 200),
		`{"code":1,"code":2}`:                                     "unreadable JSON-RPC error",
		`[]`:                                                      "unreadable JSON-RPC error",
	} {
		if got := Error(raw).Error(); got != want {
			t.Errorf("%s: %s", raw, got)
		}
	}
	for raw, want := range map[string]int64{`{"code":-5}`: -5, `{"code":"5"}`: 0, `{"code":1.5}`: 0, `{}`: 0, `x`: 0} {
		if got := Code([]byte(raw)); got != want {
			t.Errorf("%s: %d", raw, got)
		}
	}
}
