// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// JW-7: what a process kept counts for the next one, as long as it would have for the first, and fits the same algorithms; private
// keys of the issuer's document are not in it.
func TestKept(t *testing.T) {
	var all []Kept
	w := newWorld(t, func(c *Config) { c.Keep = func(_ context.Context, k Kept) { all = append(all, k) } })
	w.says("/keys", set(
		jwk(t, "ec", "ES256", nil), jwk(t, "rsa", "RS256", nil), jwk(t, "ps", "RS256", map[string]any{"alg": "PS256"}),
		jwk(t, "ed", "EdDSA", nil), jwk(t, "private", "ES256", map[string]any{"d": "c2VjcmV0"}),
	))
	if err := w.again(); err != nil || len(all) != 1 {
		t.Fatalf("%v, kept %d times", err, len(all))
	}
	if strings.Contains(string(all[0].Keys), "c2VjcmV0") || strings.Contains(string(all[0].Keys), "private") {
		t.Errorf("a private key is kept: %s", all[0].Keys)
	}
	text, err := json.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	var last Kept
	if err := json.Unmarshal(text, &last); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(k *Kept)
		pass   time.Duration
		counts bool
	}{
		{"at once", nil, 0, true},
		{"almost a day later", nil, 24*time.Hour - time.Second, true},
		{"a day later", nil, 24 * time.Hour, false},
		{"from the future", func(k *Kept) { k.Time = k.Time.Add(2 * time.Minute) }, 0, false},
		{"damaged", func(k *Kept) { k.Keys = json.RawMessage(`{"keys":7}`) }, 0, false},
		{"empty", func(k *Kept) { k.Keys = json.RawMessage(`{"keys":[]}`) }, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := last
			if tt.change != nil {
				tt.change(&k)
			}
			next := newWorld(t, func(c *Config) { c.Last = &k })
			next.pass(tt.pass)
			for kid, algorithms := range map[string]string{"ec": "ES256", "rsa": "RS256 RS512 PS384", "ps": "PS256", "ed": "EdDSA"} {
				for algorithm := range strings.FieldsSeq(algorithms) {
					key, loaded := next.find(kid, algorithm)
					if loaded != tt.counts || (key != nil) != tt.counts {
						t.Errorf("%s %s: %t, loaded %t", kid, algorithm, key != nil, loaded)
					}
				}
			}
			if key, _ := next.find("ps", "RS256"); key != nil {
				t.Error("a key fits an algorithm that it did not")
			}
			if key, _ := next.find("private", "ES256"); key != nil {
				t.Error("a private key counts")
			}
		})
	}
}
