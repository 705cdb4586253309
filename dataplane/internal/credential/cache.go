// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// entry is a cached credential: all names and values in one buffer, which is overwritten when the entry is dropped.
type entry struct {
	name         string // Credential.Key
	buf          []byte
	headers, env []pair
	serial       uint64 // Credential.Serial
	expires      time.Time
	renew        time.Time // from when on a use fetches it anew
}

// pair are the places of a name and its value in the buffer: [at, mid) and [mid, end).
type pair struct{ at, mid, end int }

// newEntry copies a secret. Its life starts now and ends at expires; somewhere in the last quarter it is to be fetched
// anew, not at the same moment on every node.
func newEntry(k key, s *credentialv1.StaticSecret, now, expires time.Time) *entry {
	e := &entry{name: k.connection + "/" + k.version, expires: expires}
	size := 0
	for _, m := range []map[string]string{s.GetHeaders(), s.GetEnv()} {
		for name, value := range m {
			size += len(name) + len(value)
		}
	}
	e.buf = make([]byte, 0, size) // in one piece: growing would leave copies behind
	for _, name := range slices.Sorted(maps.Keys(s.GetHeaders())) {
		e.headers = append(e.headers, e.add(http.CanonicalHeaderKey(name), s.GetHeaders()[name]))
	}
	for name, value := range s.GetEnv() {
		e.env = append(e.env, e.add(name, value))
	}
	life := max(expires.Sub(now), 0)               // clocks differ: what came may be over already
	e.renew = now.Add(life*3/4 + rand.N(life/8+1)) //nolint:gosec // spreads load; nothing secret about it
	return e
}

func (e *entry) add(name, value string) pair {
	p := pair{at: len(e.buf)}
	e.buf = append(e.buf, name...)
	p.mid = len(e.buf)
	e.buf = append(e.buf, value...)
	p.end = len(e.buf)
	return p
}

// credential copies the entry for a call.
func (e *entry) credential() *Credential {
	text := string(e.buf) // one copy; the parts refer to it
	return &Credential{
		Key: e.name, Expires: e.expires, Serial: e.serial,
		Headers: pick(text, e.headers), Env: pick(text, e.env),
	}
}

func pick(text string, pairs []pair) map[string]obs.Secret {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]obs.Secret, len(pairs))
	for _, p := range pairs {
		m[text[p.at:p.mid]] = obs.Secret(text[p.mid:p.end])
	}
	return m
}

// clone gives each of several waiting calls its own.
func (c *Credential) clone() *Credential {
	if c == nil {
		return nil
	}
	d := *c
	d.Headers, d.Env = maps.Clone(c.Headers), maps.Clone(c.Env)
	return &d
}

// entry is the key of the cached credential that a flight is about.
func (k key) entry() key {
	k.refused, k.presented = false, false
	return k
}

// drop overwrites and forgets an entry. The caller holds mu.
func (c *Client) drop(k key) {
	if e := c.entries[k]; e != nil {
		clear(e.buf)
		delete(c.entries, k)
	}
}

// keep caches an entry in place of the one before. The caller holds mu.
func (c *Client) keep(k key, e *entry) {
	c.drop(k)
	if len(c.entries) >= c.max {
		var first key
		var at time.Time
		for k, old := range c.entries {
			if at.IsZero() || old.expires.Before(at) {
				first, at = k, old.expires
			}
		}
		c.drop(first)
	}
	c.entries[k] = e
}
