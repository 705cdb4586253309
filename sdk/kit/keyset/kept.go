// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Kept is the keys of a set as they can outlive the process: public ones alone, whatever was in the issuer's document.
type Kept struct {
	// Time is when they were fetched.
	Time time.Time `json:"time"`
	// Keys is a JSON Web Key Set (RFC 7517 §5).
	Keys json.RawMessage `json:"keys"`
}

// Stale reports whether the keys do not count any more, or not yet: for as long as the issuer may be away (JW-7).
func (k Kept) Stale(now time.Time) bool {
	return now.Sub(k.Time) >= staleFor || k.Time.After(now.Add(time.Minute))
}

// restore takes up keys of before. Those that cannot be read are as if there were none.
func (s *Set) restore(k *Kept) {
	if k == nil || k.Stale(s.c.Now()) {
		return
	}
	if keys, err := parse(k.Keys); err == nil && len(keys) > 0 {
		s.current.Store(&known{keys: keys, at: k.Time})
	}
}

// keep hands the keys on.
func (s *Set) keep(ctx context.Context, k *known) {
	if s.c.Keep == nil {
		return
	}
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(k.keys))}
	for _, one := range k.keys {
		key := jose.JSONWebKey{Key: one.Public, KeyID: one.ID}
		if len(one.algorithms) == 1 {
			key.Algorithm = one.algorithms[0]
		}
		set.Keys = append(set.Keys, key)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return // of keys that were read, which does not happen; the next process fetches them
	}
	s.c.Keep(context.WithoutCancel(ctx), Kept{Time: k.at, Keys: text})
}
