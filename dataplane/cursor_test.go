// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
)

// FuzzCursor: a cursor opens as what was sealed, for an hour, at its gateway, unchanged; nothing else opens (M-70, M-86).
func FuzzCursor(f *testing.F) {
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		f.Fatal(err)
	}
	start := time.Unix(1_900_000_000, 0)
	sealed := sealer{keys, func() time.Time { return start }}
	f.Add("tev__echo", "gw-2", "pst1.AAAA", uint16(5), uint8(1))
	f.Add("", "", "", uint16(0), uint8(0x20))
	f.Fuzz(func(t *testing.T, last, elsewhere, token string, at uint16, flip uint8) {
		if len(last) > 2<<10 {
			return
		}
		cursor := sealed.SealCursor("gw", last)
		if got, ok := sealed.OpenCursor("gw", cursor); !ok || got != last {
			t.Fatalf("%q opens as %q, %v", last, got, ok)
		}
		late := sealer{keys, func() time.Time { return start.Add(cursorLife) }}
		if _, ok := late.OpenCursor("gw", cursor); ok {
			t.Fatal("it opens after an hour")
		}
		i := int(at) % len(cursor)
		wrong := map[string]string{
			"any text":       token,
			"request state":  states{keys}.Seal("gw", []byte("\x00\x00\x00\x00\xff\xff\xff\xff"+last)),
			"session":        string(keys.Seal(nil, seal.Session, "gw", []byte("\x00\x00\x00\x00\xff\xff\xff\xff"+last))),
			"without a time": string(keys.Seal(nil, seal.Cursor, "gw", []byte("short"))),
		}
		if flip != 0 {
			wrong["changed"] = cursor[:i] + string([]byte{cursor[i] ^ flip}) + cursor[i+1:]
		}
		for what, text := range wrong {
			if got, ok := sealed.OpenCursor("gw", text); ok {
				t.Fatalf("%s: %q opens as %q", what, text, got)
			}
		}
		if elsewhere != "gw" {
			if _, ok := sealed.OpenCursor(elsewhere, cursor); ok {
				t.Fatalf("it opens at %q", elsewhere)
			}
		}
	})
}
