// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/state"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// FuzzSealed: a state opens as it was sealed, at its gateway only, unchanged only, as a request state only (M-78, M-86).
func FuzzSealed(f *testing.F) {
	keys, err := seal.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		f.Fatal(err)
	}
	b := state.Book{Sealer: sealer{keys}}
	f.Add(uint8(1), "node-a", "user:1", "client", "", int64(1_900_000_000), uint16(9), uint8(1))
	f.Add(uint8(3), "", "", "", "theirs", int64(0), uint16(70), uint8(0x20))
	f.Fuzz(func(t *testing.T, kind uint8, node, principal, client, upstream string, expires int64, at uint16, flip uint8) {
		want := state.State{
			Kind: state.Kind(kind%3) + state.Hold, ID: [16]byte{kind, flip}, Node: node, Round: flip, Expires: time.Unix(expires, 0),
			Principal: principal, Client: client, Digest: state.Digest{flip, kind},
		}
		if want.Kind == state.Wrapped {
			want.Upstream = wire.Quote(upstream)
		}
		raw := b.Seal("gw", &want)
		if len(raw) > 30<<10 {
			return
		}
		if !state.IsOurs(raw) {
			t.Fatalf("%s is not recognised", raw)
		}
		got, err := b.Open("gw", raw)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&want, got); d != "" {
			t.Fatal(d)
		}
		closed := func(what, gateway string, raw []byte) {
			t.Helper()
			if _, err := b.Open(gateway, raw); !errors.Is(err, state.ErrInvalid) {
				t.Fatalf("%s opens: %v", what, err)
			}
		}
		closed("at another gateway it", "gw2", raw)
		text, _ := wire.DecodeString(raw)
		i := int(at) % len(text)
		if changed := text[:i] + string([]byte{text[i] ^ flip}) + text[i+1:]; flip != 0 {
			closed("changed it", "gw", wire.Quote(changed))
		}
		plain, err := keys.Open(nil, seal.RequestState, "gw", text)
		if err != nil {
			t.Fatal(err)
		}
		closed("a cursor", "gw", wire.Quote(string(keys.Seal(nil, seal.Cursor, "gw", plain))))
		if err := got.Check(principal, client, want.Digest, time.Unix(expires, -1)); err != nil {
			t.Fatal(err)
		}
		if err := got.Check(principal+"x", client, want.Digest, time.Unix(expires, -1)); !errors.Is(err, state.ErrInvalid) {
			t.Fatalf("for another principal: %v", err)
		}
		if err := got.Check(principal, client, want.Digest, time.Unix(expires, 0)); !errors.Is(err, state.ErrExpired) {
			t.Fatalf("too late: %v", err)
		}
	})
}

// FuzzDigest: white space, the order of params and what a retry adds do not make another request; everything else does.
func FuzzDigest(f *testing.F) {
	f.Add([]byte(`{"name":"t","arguments":{"a":[1, 2],"b":"x y"}}`), []byte(`{"name":"t"}`))
	f.Add([]byte(`{"a":1.0}`), []byte(`{"a":1}`))
	f.Add([]byte(`{"a":"\u0061","b":{}}`), []byte(`{"b":{},"a":"a"}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		a, ok := state.DigestOf("s", "c", "m", one)
		fields, err := wire.Fields(nil, one)
		if ok != (err == nil) {
			t.Fatalf("%s has a digest: %v, is an object: %v", one, ok, err)
		}
		if !ok {
			return
		}
		var spaced bytes.Buffer
		if json.Indent(&spaced, one, " ", "\t") == nil {
			if b, _ := state.DigestOf("s", "c", "m", spaced.Bytes()); a != b {
				t.Fatalf("white space makes another request of %s", one)
			}
		}
		slices.Reverse(fields)
		turned := []byte(`{"_meta":{"x":1},"requestState":"s","inputResponses":{}`)
		for _, x := range fields {
			switch string(x.Name) {
			case "_meta", "requestState", "inputResponses":
				continue
			}
			turned = append(append(turned, ','), one[x.Key:x.End]...)
		}
		if b, _ := state.DigestOf("s", "c", "m", append(turned, '}')); a != b {
			t.Fatalf("%s and %s} are two requests", one, turned)
		}
		if b, ok := state.DigestOf("s", "c", "m", two); ok && (a == b) != (canonical(t, one) == canonical(t, two)) {
			t.Fatalf("%s and %s: same %v", one, two, a == b)
		}
	})
}

// canonical writes what of params makes a request, by means of encoding/json alone.
func canonical(t *testing.T, params []byte) string {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(params, &object); err != nil {
		t.Fatal(err)
	}
	delete(object, "_meta")
	delete(object, "requestState")
	delete(object, "inputResponses")
	var keys []string
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var out bytes.Buffer
	for _, key := range keys {
		out.Write(wire.Quote(key))
		if err := json.Compact(&out, object[key]); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}
