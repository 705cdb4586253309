// SPDX-License-Identifier: Apache-2.0

package redact_test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/dispatch/redact"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func patterns(texts ...string) (out []*regexp.Regexp) {
	for _, text := range texts {
		out = append(out, regexp.MustCompile(text))
	}
	return out
}

func clock() time.Time { return time.Time{} }

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestResult: every string and every name that the protocol does not give loses what matches; what the protocol needs, and every other
// byte, stays.
func TestResult(t *testing.T) {
	const binary = "\x89PNG\xffsecret"
	for _, tc := range []struct {
		name, raw, want string
		task            bool
	}{
		{name: "nothing", raw: ` {"content" : [ {"type":"text","text":"plain"} ] } `},
		{name: "text", raw: `{"content":[{"type":"text","text":"a secret, a secret"}]}`, want: `{"content":[{"type":"text","text":"a [redacted], a [redacted]"}]}`},
		{name: "every other byte stays", raw: "{ \"content\":[ {\"text\":\"secret\",\"type\" :\"text\"}\t], \"n\":1.0e5}", want: "{ \"content\":[ {\"text\":\"[redacted]\",\"type\" :\"text\"}\t], \"n\":1.0e5}"},
		{name: "escapes", raw: `{"content":[{"type":"text","text":"\u0073ecre\u0074 \u2028 \"x\""}]}`, want: "{\"content\":[{\"type\":\"text\",\"text\":\"[redacted] \u2028 \\\"x\\\"\"}]}"},
		{name: "structured content", raw: `{"content":[],"structuredContent":{"a":[{"b":"secret"}],"type":"secret","c":"\"secret\""}}`, want: `{"content":[],"structuredContent":{"a":[{"b":"[redacted]"}],"type":"[redacted]","c":"\"[redacted]\""}}`},
		{name: "names", raw: `{"content":[],"structuredContent":{"secret":1,"a secret":2}}`, want: `{"content":[],"structuredContent":{"[redacted] 1":1,"a [redacted] 2":2}}`},
		{name: "name of the protocol's elsewhere", raw: `{"content":[],"structuredContent":{"mode":"word"}}`, want: `{"content":[],"structuredContent":{"[redacted] 1":"[redacted]"}}`},
		{name: "words of the protocol", raw: `{"resultType":"complete","content":[{"type":"text","text":"text complete"}],"isError":false}`, want: `{"resultType":"complete","content":[{"type":"text","text":"[redacted] [redacted]"}],"isError":false}`},
		{name: "no words of the protocol", raw: `{"resultType":"secret","content":[{"type":"secret"}]}`, want: `{"resultType":"[redacted]","content":[{"type":"[redacted]"}]}`},
		{name: "annotations", raw: `{"content":[{"type":"text","text":"","annotations":{"audience":["user","secret"],"lastModified":"2026-11-30T12:00:00Z","x":"user"}}]}`, want: `{"content":[{"type":"text","text":"","annotations":{"audience":["user","[redacted]"],"lastModified":"2026-11-30T12:00:00Z","x":"[redacted]"}}]}`},
		{name: "_meta", raw: `{"content":[],"_meta":{"secret":"secret","io.modelcontextprotocol/related-task":{"taskId":"secret","x":"secret"}}}`, want: `{"content":[],"_meta":{"[redacted] 1":"[redacted]","io.modelcontextprotocol/related-task":{"taskId":"secret","x":"[redacted]"}}}`},
		{name: "member that nobody knows", raw: `{"content":[],"taskId":"secret","requestState":"secret","secret":"secret"}`, want: `{"content":[],"taskId":"[redacted]","requestState":"[redacted]","[redacted] 1":"[redacted]"}`},
		{name: "resource link", raw: `{"content":[{"type":"resource_link","uri":"file:///secret/a","name":"secret","description":"secret"}]}`, want: `{"content":[{"type":"resource_link","uri":"file:///redacted/a","name":"[redacted]","description":"[redacted]"}]}`},
		{name: "a URI stays one", raw: `{"content":[{"type":"resource_link","uri":"secret:a","name":"n"}]}`, want: `{"content":[{"type":"resource_link","uri":"redacted:a","name":"n"}]}`},
		{name: "a URI that starts with it", raw: `{"content":[{"type":"resource_link","uri":"secret//a","name":"n"}]}`, want: `{"content":[{"type":"resource_link","uri":"redacted:redacted//a","name":"n"}]}`},
		{name: "embedded text", raw: `{"content":[{"type":"resource","resource":{"uri":"file:///a","text":"secret"}}]}`, want: `{"content":[{"type":"resource","resource":{"uri":"file:///a","text":"[redacted]"}}]}`},
		{name: "blob that is text", raw: `{"content":[{"type":"resource","resource":{"uri":"file:///a","blob":"` + encoded("a secret") + `"}}]}`, want: `{"content":[{"type":"resource","resource":{"uri":"file:///a","blob":"` + encoded("a [redacted]") + `"}}]}`},
		{name: "blob that is none", raw: `{"contents":[{"uri":"file:///a","blob":"` + encoded(binary) + `"}]}`},
		{name: "blob that says it is text", raw: `{"contents":[{"uri":"file:///a","blob":"` + encoded("\xffsecret") + `","mimeType":"text/plain"}]}`, want: `{"contents":[{"uri":"file:///a","blob":"` + encoded("\xff[redacted]") + `","mimeType":"text/plain"}]}`},
		{name: "blob that is no base64", raw: `{"contents":[{"uri":"file:///a","blob":"a secret"}]}`, want: `{"contents":[{"uri":"file:///a","blob":"a [redacted]"}]}`},
		{name: "image", raw: `{"content":[{"data":"` + encoded(binary) + `","type":"image","mimeType":"image/png"}]}`},
		{name: "image that is text", raw: `{"content":[{"data":"` + encoded("<svg>secret</svg>") + `","type":"image","mimeType":"image/svg+xml"}]}`, want: `{"content":[{"data":"` + encoded("<svg>[redacted]</svg>") + `","type":"image","mimeType":"image/svg+xml"}]}`},
		{name: "data of what is no image", raw: `{"content":[{"type":"text","data":"secret"},{"type":"image","type":"text","data":"secretAA"}]}`, want: `{"content":[{"type":"text","data":"[redacted]"},{"type":"image","type":"text","data":"[redacted]AA"}]}`},
		{name: "an image beside another block", raw: `{"content":[{"type":"image","data":"AAAA"},{"type":"x","data":"secretAA"}]}`, want: `{"content":[{"type":"image","data":"AAAA"},{"type":"x","data":"[redacted]AA"}]}`},
		{name: "tool result in a block", raw: `{"content":[{"type":"tool_result","toolUseId":"x","content":[{"type":"text","text":"secret"}]}]}`, want: `{"content":[{"type":"tool_result","toolUseId":"x","content":[{"type":"text","text":"[redacted]"}]}]}`},
		{name: "resource", raw: `{"contents":[{"uri":"file:///a","text":"secret","mimeType":"text/plain"}]}`, want: `{"contents":[{"uri":"file:///a","text":"[redacted]","mimeType":"text/plain"}]}`},
		{name: "task of 2025-11-25", raw: `{"task":{"taskId":"secret","status":"working","statusMessage":"secret","createdAt":"2026-11-30T12:00:00Z"}}`, want: `{"task":{"taskId":"secret","status":"working","statusMessage":"[redacted]","createdAt":"2026-11-30T12:00:00Z"}}`},
		{name: "state of a task", task: true, raw: `{"taskId":"secret","status":"completed","statusMessage":"secret","createdAt":"secret"}`, want: `{"taskId":"secret","status":"completed","statusMessage":"[redacted]","createdAt":"[redacted]"}`},
		{name: "task of the extension", raw: `{"resultType":"task","taskId":"secret","status":"working","statusMessage":"secret"}`, want: `{"resultType":"task","taskId":"secret","status":"working","statusMessage":"[redacted]"}`},
		{name: "task with its result", task: true, raw: `{"taskId":"secret","status":"completed","result":{"content":[{"type":"text","text":"secret"}],"taskId":"secret"}}`, want: `{"taskId":"secret","status":"completed","result":{"content":[{"type":"text","text":"[redacted]"}],"taskId":"[redacted]"}}`},
		{name: "task with its error", task: true, raw: `{"taskId":"secret","status":"failed","error":{"code":1,"message":"secret","data":{"message":"secret","secret":1}}}`, want: `{"taskId":"secret","status":"failed","error":{"code":1,"message":"[redacted]","data":{"message":"[redacted]","[redacted] 1":1}}}`},
		{name: "result of a task", task: true, raw: `{"content":[{"type":"text","text":"secret"}],"taskId":"secret"}`, want: `{"content":[{"type":"text","text":"[redacted]"}],"taskId":"[redacted]"}`},
		{
			name: "questions", raw: `{"resultType":"input_required","requestState":"secret","inputRequests":{"secret":{"method":"elicitation/create","params":{"mode":"form","message":"secret","requestedSchema":{"type":"object","properties":{"secret":{"type":"string","title":"secret"}},"required":["x"]},"_meta":{"progressToken":"secret"}}}}}`,
			want: `{"resultType":"input_required","requestState":"secret","inputRequests":{"secret":{"method":"elicitation/create","params":{"mode":"form","message":"[redacted]","requestedSchema":{"type":"object","properties":{"secret":{"type":"string","title":"[redacted]"}},"required":["x"]},"_meta":{"progressToken":"secret"}}}}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.want == "" {
				tc.want = tc.raw
			}
			r := redact.New(patterns("secret", `\b(text|complete|user|word|mode)\b`), clock)
			got, err := r.Result([]byte(tc.raw), tc.task)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if !wire.Valid(got) {
				t.Error("no JSON")
			}
		})
	}
}

// TestOthers: errors, notifications and questions.
func TestOthers(t *testing.T) {
	r := redact.New(patterns("secret"), clock)
	for _, tc := range []struct {
		name      string
		do        func([]byte) ([]byte, error)
		raw, want string
	}{
		{"error", r.Error, `{"code":-32000,"message":"a secret","data":{"message":"secret","x":["secret"]}}`, `{"code":-32000,"message":"a [redacted]","data":{"message":"[redacted]","x":["[redacted]"]}}`},
		{"log", r.Notification, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"secret","data":{"a":"secret"}}}`, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"[redacted]","data":{"a":"[redacted]"}}}`},
		{"progress", r.Notification, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"secret","progress":1,"message":"secret"}}`, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"secret","progress":1,"message":"[redacted]"}}`},
		{"task", r.Notification, `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"secret","status":"working","statusMessage":"secret"}}`, `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"secret","status":"working","statusMessage":"[redacted]"}}`},
		{"task with its result", r.Notification, `{"method":"notifications/tasks","params":{"taskId":"secret","result":{"content":[{"type":"text","text":"secret"}]}}}`, `{"method":"notifications/tasks","params":{"taskId":"secret","result":{"content":[{"type":"text","text":"[redacted]"}]}}}`},
		{"resource", r.Notification, `{"method":"notifications/resources/updated","params":{"uri":"file:///secret","x":"secret"}}`, `{"method":"notifications/resources/updated","params":{"uri":"file:///secret","x":"[redacted]"}}`},
		{"page", r.Notification, `{"method":"notifications/elicitation/complete","params":{"elicitationId":"secret"}}`, ""},
		{"cancelled", r.Notification, `{"method":"notifications/cancelled","params":{"requestId":"secret","reason":"secret"}}`, `{"method":"notifications/cancelled","params":{"requestId":"secret","reason":"[redacted]"}}`},
		{"one that nobody knows", r.Notification, `{"method":"notifications/x","params":{"taskId":"secret","progressToken":"secret"}}`, `{"method":"notifications/x","params":{"taskId":"[redacted]","progressToken":"[redacted]"}}`},
		{"page to open", r.Question, `{"mode":"url","message":"secret","url":"https://x.example/secret","elicitationId":"secret"}`, `{"mode":"url","message":"[redacted]","url":"https://x.example/[redacted]","elicitationId":"secret"}`},
		{"sampling", r.Question, `{"messages":[{"role":"user","content":{"type":"text","text":"secret"}}],"systemPrompt":"secret","includeContext":"none","maxTokens":5}`, `{"messages":[{"role":"user","content":{"type":"text","text":"[redacted]"}}],"systemPrompt":"[redacted]","includeContext":"none","maxTokens":5}`},
		{"no params", r.Question, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.want == "" {
				tc.want = tc.raw
			}
			raw := []byte(tc.raw)
			if tc.raw == "" {
				raw = nil
			}
			if got, err := tc.do(raw); err != nil || string(got) != tc.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
	for _, raw := range []string{`{"a":`, `{"a":"b}`, `{"a" "b"}`, `[1 2]`, `{"a":1}x`, `{"content":[{"type":"text]}`, strings.Repeat("[", 1000)} {
		if got, err := r.Result([]byte(raw), false); err == nil {
			t.Errorf("%.20s is read as %.20s", raw, got)
		}
	}
}

// TestText: what is beside a sign is looked at again; patterns that match signs end.
func TestText(t *testing.T) {
	for _, tc := range []struct {
		patterns   []string
		text, want string
	}{
		{[]string{"secret"}, "no", "no"},
		{[]string{"secret"}, "secretsecret", "[redacted]"},
		{[]string{"abc", "cde"}, "abcde", "[redacted]"},
		{[]string{"abc", "xyz"}, "abc-xyz", "[redacted]-[redacted]"},
		{[]string{"redacted"}, "redacted", "[redacted]"},
		{[]string{"[a-z]+"}, "ab 12 cd", "[redacted] 12 [redacted]"},
		{[]string{`x|\bfoo`}, "xfoo", "[redacted]"},
		{[]string{"^a|\\]a"}, "aaab", "[redacted]b"},
		{[]string{"^a|\\]a"}, strings.Repeat("a", 20) + "b", "[redacted]"}, // too often: all of it
		{[]string{"(?i)SECRET"}, "SeCrEt", "[redacted]"},
		{[]string{"ä"}, "äöä", "[redacted]ö[redacted]"},
	} {
		if got := redact.New(patterns(tc.patterns...), clock).Text(tc.text); got != tc.want {
			t.Errorf("%v in %q: got %q, want %q", tc.patterns, tc.text, got, tc.want)
		}
	}
}

// TestPatience: a text whose matches take too long is taken out whole, and so is what matches behind it.
func TestPatience(t *testing.T) {
	now := time.Time{}
	r := redact.New(patterns("a.*b|a"), func() time.Time { now = now.Add(time.Minute); return now })
	raw := `{"content":[{"type":"text","text":"` + strings.Repeat("a", 1000) + `"},{"type":"text","text":"xa"},{"type":"text","text":"x"}]}`
	got, err := r.Result([]byte(raw), false)
	want := `{"content":[{"type":"text","text":"[redacted]"},{"type":"text","text":"x[redacted]"},{"type":"text","text":"x"}]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}
