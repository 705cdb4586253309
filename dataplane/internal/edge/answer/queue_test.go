// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(method, params string) []byte {
	return []byte(`{"jsonrpc":"2.0","method":"` + method + `","params":{` + params + `}}`)
}

func progress(token string, n int) []byte {
	return text("notifications/progress", fmt.Sprintf(`"progressToken":%s,"progress":%d`, token, n))
}

func logged(n int) []byte {
	return text("notifications/message", fmt.Sprintf(`"level":"info","data":%d`, n))
}

// drain returns what of the queued messages tells them apart.
func drain(q *queue) []string {
	var out []string
	for e := q.take(); e != nil; e = q.take() {
		s := strings.TrimSuffix(string(e), "}}\n\n")
		out = append(out, s[strings.LastIndexAny(s, ",{")+1:])
	}
	return out
}

// TestQueueOverflow is M-20, one rule a row. Each queue is filled with maxQueued messages, then gets more.
func TestQueueOverflow(t *testing.T) {
	other := text("notifications/unknown", `"x":1`)
	changed := text("notifications/tools/list_changed", "")
	for _, tt := range []struct {
		name    string
		fill    func(i int) []byte
		more    [][]byte
		want    []string // of the first ones left
		length  int
		dropped int
		broken  bool
	}{
		{
			"progress gives way to newer", func(i int) []byte { return progress("1", i) },
			[][]byte{progress("1", 999)},
			[]string{`"progress":999`},
			1, 0, false,
		},
		{
			"each call's progress by itself", func(i int) []byte { return progress(fmt.Sprint(i%2), i) },
			[][]byte{progress("1", 999)},
			[]string{`"progress":254`, `"progress":999`},
			2, 0, false,
		},
		{
			"a string token is another token", func(i int) []byte { return progress([]string{`1`, `"1"`}[i%2], i) },
			[][]byte{progress("1", 999)},
			[]string{`"progress":255`, `"progress":999`},
			2, 0, false,
		},
		{
			"list_changed too", func(int) []byte { return changed },
			[][]byte{changed},
			nil, 1, 0, false,
		},
		{
			"a new log message is dropped", func(int) []byte { return other },
			[][]byte{logged(1), logged(2)},
			[]string{`"x":1`},
			maxQueued, 2, false,
		},
		{
			"old log messages make room", logged,
			[][]byte{other, progress("1", 5)},
			[]string{`"data":2`, `"data":3`},
			maxQueued, 2, false,
		},
		{
			"what must not be lost breaks the stream", func(int) []byte { return other },
			[][]byte{other, progress("1", 5)},
			nil, 0, 0, true,
		},
		{
			"a message that cannot be read must not be lost", func(int) []byte { return other },
			[][]byte{[]byte(`{"jsonrpc`)},
			nil, 0, 0, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dropped := 0
			q := queue{dropped: func() { dropped++ }}
			for i := range maxQueued {
				q.add(tt.fill(i), render(tt.fill(i)))
			}
			if len(q.items) != maxQueued || dropped != 0 {
				t.Fatalf("%d messages fit, want %d", len(q.items), maxQueued)
			}
			for _, m := range tt.more {
				q.add(m, render(m))
			}
			if len(q.items) != tt.length || dropped != tt.dropped || q.broken != tt.broken {
				t.Errorf("%d left, %d dropped, broken %v, want %d, %d, %v", len(q.items), dropped, q.broken, tt.length, tt.dropped, tt.broken)
			}
			q.last([]byte("response,response}}\n\n"))
			got := drain(&q)
			if tt.broken {
				if len(got) != 0 {
					t.Errorf("a broken stream still has %v", got)
				}
				return
			}
			if got[len(got)-1] != "response" {
				t.Errorf("the response does not end %v", got)
			}
			if diff := cmp.Diff(tt.want, got[:len(tt.want)]); diff != "" && tt.want != nil {
				t.Errorf("first ones left (-want +got):\n%s", diff)
			}
			if q.bytes != 0 {
				t.Errorf("%d bytes counted in an empty queue", q.bytes)
			}
		})
	}
}

func TestQueueBytes(t *testing.T) {
	q := queue{}
	big := text("notifications/unknown", `"x":"`+strings.Repeat("x", maxQueuedBytes/3)+`"`)
	for range 3 {
		q.add(big, render(big))
	}
	if !q.broken {
		t.Errorf("%d bytes are queued, want at most %d", q.bytes, maxQueuedBytes)
	}
	q = queue{}
	q.last(make([]byte, 2*maxQueuedBytes))
	if q.broken || q.take() == nil {
		t.Error("a large response is refused")
	}
}
