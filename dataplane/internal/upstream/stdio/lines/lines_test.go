// SPDX-License-Identifier: Apache-2.0

package lines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func all(t *testing.T, r io.Reader, limit int64) []string {
	t.Helper()
	var list []string
	for l := New(r); ; {
		line, err := l.Next(func() int64 { return limit })
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if line.TooLong {
			list = append(list, fmt.Sprint("too long ", line.ID))
			continue
		}
		list = append(list, string(line.Text))
	}
}

func TestNext(t *testing.T) {
	mid, big := strings.Repeat("m", 70_000), strings.Repeat("b", 300_000)
	for _, c := range []struct {
		name, in string
		limit    int64
		want     []string
	}{
		{"nothing", "", 10, nil},
		{"lines", "a\nbc\n\nd\r\n", 10, []string{"a", "bc", "", "d\r"}},
		{"no end", "a\nbc", 10, []string{"a", "bc"}},
		{"just as long as allowed", "0123456789\n0123456789", 10, []string{"0123456789", "0123456789"}},
		{"one byte more", "0123456789x\nok\n", 10, []string{"too long 0", "ok"}},
		{"longer than the buffer", mid + "\n" + big + "\nok\n", 400_000, []string{mid, big, "ok"}},
		{"far too long", `{"id":5,"result":"` + big + "\"}\nok\n", 1000, []string{"too long 5", "ok"}},
		{"far too long, no end", `{"id":5,"result":"` + big + `"}`, 1000, []string{"too long 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, all(t, strings.NewReader(c.in), c.limit)); diff != "" {
				t.Errorf("in one piece (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, all(t, iotest.HalfReader(strings.NewReader(c.in)), c.limit)); diff != "" {
				t.Errorf("in pieces (-want +got):\n%s", diff)
			}
		})
	}
	broken := errors.New("broken")
	l := New(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	for _, want := range []string{"a", "b"} {
		if line, err := l.Next(func() int64 { return 10 }); err != nil || string(line.Text) != want {
			t.Errorf("line %q, error %v, want %q", line.Text, err, want)
		}
	}
	if _, err := l.Next(func() int64 { return 10 }); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

func TestIDOfWhatIsTooLong(t *testing.T) {
	for in, want := range map[string]int64{
		`{"jsonrpc":"2.0","id":42,"result":{"x":1}}`:                 42,
		`{"result":{"id":7,"a":[{"id":8}]},"jsonrpc":"2.0","id":42}`: 42,
		`{"id" : 42 , "result":{}}`:                                  42,
		`{"result":"a \"id\":7, {[","id":42}`:                        42,
		`{"result":"\\","id":42}`:                                    42,
		`{"error":{"code":1,"message":"id"},"id":42}`:                42,
		`{"id":"42","result":{}}`:                                    0,
		`{"id":null,"error":{}}`:                                     0,
		`{"id":4.2,"result":{}}`:                                     0,
		`{"id":[42],"result":{}}`:                                    0,
		`{"id":9223372036854775808,"result":{}}`:                     0,
		`{"id":11111111111111111111111111111111111,"result":{}}`:     0,
		`{"result":{}}`:                                              0,
		`{"id":42,"method":"sampling/createMessage","params":{}}`:    0,
		`{"method":"notifications/message","params":{"id":42}}`:      0,
		`{"x":"id","y":42}`:                                          0,
		`{"id":42`:                                                   0,
		`noise "id":42`:                                              0,
		``:                                                           0,
		`[{"id":42,"result":{}}]`:                                    0,
		`{"idd":42,"i":42,"verylongkeyverylongkeyverylongkeyverylong":1}`: 0,
	} {
		var h hunter
		h.feed([]byte(in))
		if got := h.id(); got != want {
			t.Errorf("id in %s is %d, want %d", in, got, want)
		}
	}
}

// The hunter agrees with encoding/json about every response that both can read.
func FuzzIDOfWhatIsTooLong(f *testing.F) {
	f.Add(`{"jsonrpc":"2.0","id":42,"result":{"x":[1,"\"id\":7"]}}`)
	f.Add(`{"result":{},"id":-1}`)
	f.Fuzz(func(t *testing.T, in string) {
		var h hunter
		h.feed([]byte(in))
		got := h.id()
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(in), &m) != nil || strings.Contains(in, `\u`) {
			return
		}
		if _, asks := m["method"]; asks {
			return
		}
		d := json.NewDecoder(strings.NewReader(in))
		keys := map[string]int{}
		if !countKeys(d, keys) || keys["id"] > 1 {
			return
		}
		var want int64
		if raw, ok := m["id"]; ok && json.Unmarshal(raw, &want) != nil || string(m["id"]) == "null" {
			want = 0
		}
		if got != want {
			t.Errorf("id in %q is %d, want %d", in, got, want)
		}
	})
}

// countKeys counts the keys of the outermost object.
func countKeys(d *json.Decoder, keys map[string]int) bool {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return false
	}
	for d.More() {
		token, err := d.Token()
		key, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return false
		}
		keys[key]++
	}
	return true
}
