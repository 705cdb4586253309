// SPDX-License-Identifier: Apache-2.0

package exposed_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/exposed"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// open seals nothing, so that what is renamed can be seen.
type open struct{}

func (open) SealTask(_ string, plain []byte) string { return "sealed:" + string(plain[len(plain)-1:]) }

func (open) OpenTask(string, string) ([]byte, bool) { return nil, false }

// M-55: only what is a task has its id renamed; members of the same names in other results are the server's own.
func TestOnlyTasksAreRenamed(t *testing.T) {
	const extension = compile.ExtensionTasks
	server := &view.Server{Name: "s", Capabilities: compile.Capabilities{Tasks: true, Extensions: map[string][]byte{extension: []byte(`{}`)}}}
	tests := []struct {
		name, method string
		version      wire.Version
		result       string
		renamed      bool
	}{
		{"task", "tools/call", wire.V20260728, `{"resultType":"task","taskId":"1"}`, true},
		{"result of a tool", "tools/call", wire.V20260728, `{"content":[],"taskId":"1"}`, false},
		{"result of a tool with a task in it", "tools/call", wire.V20260728, `{"task":{"taskId":"1"}}`, false},
		{"task of 2025-11-25", "tools/call", wire.V20251125, `{"task":{"taskId":"1"}}`, true},
		{"result of a tool, 2025-11-25", "tools/call", wire.V20251125, `{"content":[],"task":{"taskId":"1"}}`, false},
		{"result type of another era", "tools/call", wire.V20251125, `{"resultType":"task","taskId":"1"}`, false},
		{"a version without tasks", "tools/call", wire.V20250618, `{"task":{"taskId":"1"}}`, false},
		{"state of a task", "tasks/get", wire.V20251125, `{"taskId":"1"}`, true},
		{"cancelled task", "tasks/cancel", wire.V20260728, `{"taskId":"1"}`, true},
		{"answered task", "tasks/update", wire.V20260728, `{"taskId":"1"}`, true},
		{"result of a task", "tasks/result", wire.V20251125, `{"taskId":"1","task":{"taskId":"1"}}`, false},
		{"prompt", "prompts/get", wire.V20251125, `{"messages":[],"taskId":"1","task":{"taskId":"1"}}`, false},
		{"resource", "resources/read", wire.V20260728, `{"contents":[],"taskId":"1","resultType":"task"}`, false},
		{"method of an extension", "tickets/get", wire.V20260728, `{"taskId":"1","resultType":"task"}`, false},
		{
			"related task", "prompts/get", wire.V20251125,
			`{"messages":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}}}`, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			caller := call.Caller{
				Principal: ident.Principal{Kind: ident.KindUser, UID: "u"}, Gateway: &view.Gateway{Gateway: compile.Gateway{UID: "g"}}, Version: tt.version,
			}
			got, err := exposed.New(open{}, &caller, server, "c").Result(tt.method, []byte(tt.result))
			if err != nil {
				t.Fatal(err)
			}
			want := tt.result
			if tt.renamed {
				want = strings.ReplaceAll(want, `"1"`, `"sealed:1"`)
			}
			if string(got) != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
