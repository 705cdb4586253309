// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"
)

// pair is a member as encoding/json finds it.
type pair struct {
	key string
	raw []byte
}

// pairs lists the members of an object in order, with keys that stand twice; ok is false for anything but an object.
func pairs(raw []byte) (out []pair, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		out = append(out, pair{key.(string), value})
	}
	return out, true
}

func valueOf(list []pair, key string) []byte {
	for _, p := range list {
		if p.key == key {
			return p.raw
		}
	}
	return nil
}

func twice(list []pair) bool {
	seen := map[string]bool{}
	for _, p := range list {
		if seen[p.key] {
			return true
		}
		seen[p.key] = true
	}
	return false
}

func strict(b []byte) bool { return json.Valid(b) && utf8.Valid(b) && depthOf(b) <= MaxDepth }

// FuzzFields: an object is listed exactly if encoding/json reads it and no key stands twice, and as encoding/json reads it.
func FuzzFields(f *testing.F) {
	seeds(f)
	f.Add([]byte(`{"\u0061":1,"a":2}`))
	f.Add([]byte(`{"\ud800":1,"\ufffd":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := Fields(nil, b)
		want, object := pairs(b)
		if good := strict(b) && object && !twice(want); good != (err == nil) {
			t.Fatalf("Fields(%q): %v, encoding/json: object %v of %d members", b, err, good, len(want))
		}
		if err != nil {
			return
		}
		if len(fields) != len(want) {
			t.Fatalf("%d members, encoding/json has %d", len(fields), len(want))
		}
		for i, w := range want {
			if string(fields[i].Name) != w.key || !bytes.Equal(fields[i].Of(b), w.raw) {
				t.Fatalf("member %d is %q: %s, encoding/json has %q: %s", i, fields[i].Name, fields[i].Of(b), w.key, w.raw)
			}
		}
	})
}

// FuzzEnvelope puts any value where params or a result stands: the message is taken exactly if encoding/json reads it, it is
// an object, and no key stands twice in what the node reads (M-10, M-11).
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `null`, `{"name":"a","NAME":"b"}`, `{"name":"a","n\u0061me":"b"}`, `{"arguments":{"a":1,"a":2}}`, `{"_meta":{"a":1,"a":2}}`,
		`{"_meta":7}`, `{"ref":{"type":"x","type":"y"}}`, `{"ref":5}`, `{"structuredContent":{"a":1,"a":1}}`, `{"content":[{"a":1,"a":2}]}`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"a":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		for member, inner := range map[string][]string{"params": {"_meta", "ref"}, "result": {"_meta", "structuredContent"}} {
			head := `{"jsonrpc":"2.0","id":1,"method":"m","params":`
			if member == "result" {
				head = `{"jsonrpc":"2.0","id":1,"result":`
			}
			b := append(append([]byte(head), value...), '}')
			var m Message
			err := Scan(b, &m)
			if list, ok := pairs(b); !ok || len(list) > 4 || !strict(b) {
				if !strict(b) && err == nil {
					t.Fatalf("%q passes", b)
				}
				continue // the value has closed the envelope
			}
			list, object := pairs(value)
			good := member == "result" || object
			if object && twice(list) {
				good = false
			}
			for _, key := range inner {
				part, object := pairs(valueOf(list, key))
				if object && twice(part) || key == "_meta" && !object && valueOf(list, key) != nil {
					good = false
				}
			}
			if good != (err == nil) {
				t.Fatalf("%q: %v, want good %v", b, err, good)
			}
		}
	})
}

// FuzzSplice: an edit changes the bytes of the value it is about and no others.
func FuzzSplice(f *testing.F) {
	f.Add([]byte("{ \"a\" : 1,\n\"b\":[1, 2] ,\"c\":{\"d\":\"}\"}}"), uint8(1))
	f.Add([]byte(`{"name":"é\n","x":12345678901234567890,"y":1.0e5}`), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, choice uint8) {
		fields, err := Fields(nil, b)
		if err != nil || len(fields) == 0 {
			return
		}
		one := fields[int(choice)%len(fields)]
		value := []byte(`{"new": 1}`)

		var replace Edits
		replace.Replace(one.Span, value)
		want := slices.Concat(b[:one.Start], value, b[one.End:])
		if got := replace.AppendTo(nil, b); !bytes.Equal(got, want) {
			t.Fatalf("replaced %q in %q: %q", one.Name, b, got)
		}

		var insert Edits
		object := Span{bytes.IndexByte(b, '{'), len(b)}
		insert.Insert(object, "new", value)
		want = slices.Concat(b[:object.Start+1], []byte(`"new":`), value, []byte{','}, b[object.Start+1:])
		if got := insert.AppendTo(nil, b); !bytes.Equal(got, want) {
			t.Fatalf("inserted into %q: %q", b, got)
		}

		var remove Edits
		remove.Delete(one.Member)
		got := remove.AppendTo(nil, b)
		left := slices.DeleteFunc(slices.Clone(fields), func(x Field) bool { return x.Key == one.Key })
		after, err := Fields(nil, got)
		if err != nil || len(after) != len(left) {
			t.Fatalf("removed %q from %q: %q, %v", one.Name, b, got, err)
		}
		for i := range left { // from the key to the end of the value
			if !bytes.Equal(got[after[i].Key:after[i].End], b[left[i].Key:left[i].End]) {
				t.Fatalf("removed %q from %q: %q", one.Name, b, got)
			}
		}
	})
}
