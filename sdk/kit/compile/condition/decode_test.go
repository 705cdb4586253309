// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecode holds the decoder to encoding/json: it takes the same objects but for names that stand twice, and reads the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, ` { "a" : [ 1 , -2.5e3 , "x" , true , false , null , { } , [ ] ] } `, `{"a\u0062\n":"\"\\é\ud83d\ude00"}`,
		`{"é":"é"}`, `{"a":1,"a":2}`, `{"a":12345678901234567890}`, `{"a":1e999}`, `[]`, `1`, ``, `{"a":`, `{"a":1}{}`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := decodeObject(raw)
		var want map[string]any
		wantErr := json.Unmarshal(raw, &want)
		if err == nil && (wantErr != nil || want == nil) {
			t.Fatalf("took %q: %v", raw, wantErr)
		}
		if err != nil {
			return // TestDecodeRefuses
		}
		// Through JSON once more, because encoding/json has float64 where this has int64.
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var again map[string]any
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, again); d != "" {
			t.Errorf("%q: (-want +got)\n%s", raw, d)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, raw := range []string{`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":1e999}`, `[]`, `1`, `null`, ``, ` `, `{"a":`, `{"a":1}{}`} {
		if got, err := decodeObject([]byte(raw)); err == nil {
			t.Errorf("took %q as %v", raw, got)
		}
	}
	got, err := decodeObject([]byte(`{"a":9007199254740993,"b":1.0,"c":18446744073709551615,"d":-7}`))
	want := map[string]any{"a": int64(9007199254740993), "b": 1.0, "c": 18446744073709551615.0, "d": int64(-7)}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v, (-want +got)\n%s", err, d)
	}
}
