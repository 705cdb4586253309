// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// left returns the members of raw without those that a conversion may take away or change.
func left(t *testing.T, raw []byte, without ...string) map[string]string {
	t.Helper()
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	out := make(map[string]string, len(fields))
	for i := range fields {
		out[string(fields[i].Name)] = string(raw[fields[i].Key:fields[i].End]) // white space around the colon too
	}
	for _, name := range without {
		delete(out, name)
	}
	return out
}

// FuzzResult: of any result, for any version, only what M-73 and M-61 name changes, and what is left is a result that needs
// no further change.
func FuzzResult(f *testing.F) {
	for _, s := range []string{
		`{"resultType":"complete" , "content":[{"type":"audio","data":"QQ=="},{"type":"resource_link","name":"n","uri":"u"}],"x":1.50}`,
		`{"structuredContent":[1],"content":[ ],"ttlMs":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/a":1,"k":[9007199254740993]}}`,
		`{"_meta":{"io.penstock/x":1},"structuredContent":{"penstock_error":{},"a":1}}`, `{"messages":[{"content":{"type":"audio"}}]}`,
		`{"structuredContent":5,"penstock_error":1}`, `{"content":"x","structuredContent":null}`,
	} {
		for version := range uint8(5) {
			f.Add([]byte(s), version, false)
			f.Add([]byte(s), version, true)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, version uint8, prompt bool) {
		versions := wire.Supported()
		o := Options{To: versions[int(version)%len(versions)], Prompt: prompt}
		var e wire.Edits
		if _, err := Result(&e, raw, o); err != nil {
			return
		}
		out := e.AppendTo(nil, raw)
		if e.Len() == 0 && !bytes.Equal(out, raw) {
			t.Fatalf("no edit changes %s", raw)
		}
		changes := []string{"_meta", "structuredContent"}
		if o.To.Era() == wire.Legacy {
			changes = append(changes, "resultType", "ttlMs", "cacheScope", "content", "messages")
		}
		was, is := left(t, raw, changes...), left(t, out, changes...)
		if len(was) != len(is) {
			t.Fatalf("for %s, %s became %s", o.To, raw, out)
		}
		for name, member := range was {
			if is[name] != member {
				t.Fatalf("for %s, the member %q of %s became %s", o.To, name, raw, out)
			}
		}
		var again wire.Edits
		if _, err := Result(&again, out, o); err != nil || again.Len() > 0 {
			t.Fatalf("for %s, %s became %s, which needs %d more changes: %v", o.To, raw, out, again.Len(), err)
		}
	})
}

// FuzzTool: of any definition, for any version, only execution and outputSchema leave, and nothing changes.
func FuzzTool(f *testing.F) {
	for _, s := range []string{
		`{"name":"a" , "outputSchema":{"type":"array","$anchor":"q"},"execution":{},"inputSchema":{"x-1":9007199254740993}}`,
		`{"outputSchema":{"type":"object","type":"object"}}`, `{"outputSchema":true,"execution":1}`, `{}`,
	} {
		f.Add([]byte(s), uint8(0), true)
		f.Add([]byte(s), uint8(2), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, version uint8, tasks bool) {
		versions := wire.Supported()
		to := versions[int(version)%len(versions)]
		var e wire.Edits
		if Tool(&e, raw, to, tasks) != nil {
			return
		}
		out := e.AppendTo(nil, raw)
		was, is := left(t, raw), left(t, out)
		for name, member := range is {
			if was[name] != member {
				t.Fatalf("for %s, %s became %s", to, raw, out)
			}
			delete(was, name)
		}
		for name := range was {
			if name != "outputSchema" && name != "execution" || name == "execution" && tasks || name == "outputSchema" && to.Era() == wire.Modern {
				t.Fatalf("for %s, %q of %s is gone: %s", to, name, raw, out)
			}
		}
		if _, kept := is["outputSchema"]; kept && to.Era() == wire.Legacy && !bytes.Contains(out, []byte(`object`)) && !bytes.Contains(out, []byte(`\u`)) {
			t.Fatalf("for %s: %s", to, out)
		}
	})
}
