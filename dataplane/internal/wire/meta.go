// SPDX-License-Identifier: Apache-2.0

package wire

import "bytes"

// StripMeta adds edits that remove, from the _meta object at meta in b, all
// keys that start with one of the prefixes (M-61), except those named in keep.
// meta is the Span of the object; an absent one is no edit. b was scanned
// before, so an error means that meta is no object.
func StripMeta(e *Edits, b []byte, meta Span, keep string, prefixes ...string) error {
	if !meta.Present() {
		return nil
	}
	var room [8]Field
	fields, err := Fields(room[:0], meta.Of(b))
	if err != nil {
		return err
	}
	for i := range fields {
		if f := &fields[i]; string(f.Name) != keep && hasPrefix(f.Name, prefixes) {
			e.Delete(f.shift(meta.Start))
		}
	}
	return nil
}

func hasPrefix(name []byte, prefixes []string) bool {
	for _, p := range prefixes {
		if bytes.HasPrefix(name, []byte(p)) {
			return true
		}
	}
	return false
}

// shift moves a Member found in a part of a text to its place in the whole.
func (m Member) shift(by int) Member {
	return Member{Key: m.Key + by, Span: Span{m.Start + by, m.End + by}}
}
