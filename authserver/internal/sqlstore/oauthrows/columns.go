// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// micros is a time as it is stored: microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment reads what micros stored.
type moment struct{ to *time.Time }

func (m moment) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", src)
	}
	*m.to = time.Time{}
	if n != 0 {
		*m.to = time.UnixMicro(n).UTC()
	}
	return nil
}

// optional is a hash as it is stored where there may be none: NULL for the zero one.
func optional(h store.Hash) any {
	if h == (store.Hash{}) {
		return nil
	}
	return h[:]
}

// digest reads a hash, NULL as the zero one.
type digest struct{ to *store.Hash }

func (d digest) Scan(src any) error {
	*d.to = store.Hash{}
	if src == nil {
		return nil
	}
	b, ok := src.([]byte)
	if !ok || len(b) != len(d.to) {
		return fmt.Errorf("a hash is stored as %T of %d bytes", src, len(b))
	}
	copy(d.to[:], b)
	return nil
}

// list is a list as it is stored: a JSON array.
func list(l []string) string {
	if len(l) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(l) // strings always have a JSON form
	return string(b)
}

// texts reads what list stored, an empty one as nil.
type texts struct{ to *[]string }

func (t texts) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("a list is stored as %T", src)
	}
	*t.to = nil
	if s == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(s), t.to)
}

// bytes is never NULL.
func bytes(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
