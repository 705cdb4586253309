// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"bytes"
	"testing"
	"time"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
)

// D-85: a dropped entry is overwritten, whatever dropped it.
func TestDroppedEntriesAreOverwritten(t *testing.T) {
	now := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	k := key{connection: "c1", version: "v_1", kind: "user", uid: "ada"}
	for _, c := range []struct {
		name string
		drop func(*Client)
	}{
		{"expired", func(c *Client) { now = now.Add(time.Hour); c.sweep() }},
		{"denied", func(c *Client) { c.Deny("c1") }},
		{"replaced", func(c *Client) { c.keep(k, secretEntry(k, now)) }},
		{"pushed out", func(c *Client) { c.keep(key{connection: "c2"}, secretEntry(k, now)) }},
		{"stopped", func(c *Client) { c.end() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := &Client{
				now: func() time.Time { return now }, max: 1, entries: map[key]*entry{}, flights: map[key]*flight{},
			}
			e := secretEntry(k, now)
			client.keep(k, e)
			copied := e.credential()
			if !bytes.Contains(e.buf, []byte("canary")) {
				t.Fatal("the entry does not hold the secret")
			}
			c.drop(client)
			if !bytes.Equal(e.buf, make([]byte, len(e.buf))) {
				t.Errorf("the entry still holds %q", e.buf)
			}
			if client.entries[k] == e {
				t.Error("the entry is still cached")
			}
			if got := copied.Headers["Authorization"].Reveal(); got != "Bearer canary" {
				t.Errorf("a call under way lost its credential: %q", got)
			}
		})
	}
}

func secretEntry(k key, now time.Time) *entry {
	return newEntry(k, &credentialv1.StaticSecret{
		Headers: map[string]string{"authorization": "Bearer canary"}, Env: map[string]string{"KEY": "canary"},
	}, now, now.Add(time.Minute))
}
