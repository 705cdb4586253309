// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/pack"
)

func both(t testing.TB, limit int) (*pack.Packer, *pack.Unpacker) {
	t.Helper()
	p, err := pack.NewPacker(1)
	if err != nil {
		t.Fatal(err)
	}
	u, err := pack.NewUnpacker(limit)
	if err != nil {
		t.Fatal(err)
	}
	return p, u
}

// tool is a definition as servers have them.
const tool = `{"name":"create_issue","title":"Create issue","description":"Creates a new issue in the given repository.","inputSchema":{"type":"object","properties":` +
	`{"owner":{"type":"string","description":"The owner of the repository"},"repo":{"type":"string","description":"The name of the repository"},` +
	`"title":{"type":"string","description":"The title of the issue"},"labels":{"type":"array","items":{"type":"string"},"description":"Labels to assign"}},` +
	`"required":["owner","repo","title"],"additionalProperties":false},"annotations":{"readOnlyHint":false,"openWorldHint":true}}`

func message(t testing.TB, body string) []byte {
	t.Helper()
	b, err := proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{
		Epoch: "e", From: 1, To: 2, Blobs: [][]byte{[]byte(body)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessage(t *testing.T) {
	p, u := both(t, 16<<20)
	for name, plain := range map[string][]byte{
		"empty": {}, "small": message(t, "x"), "tool": message(t, tool), "large": message(t, strings.Repeat(tool, 2000)),
		"random": message(t, string(func() []byte { s := sha256.Sum256([]byte("x")); return bytes.Repeat(s[:], 1) }())),
	} {
		packed := p.Message(plain)
		if len(packed) > len(plain) {
			t.Errorf("%s: %d bytes became %d", name, len(plain), len(packed))
		}
		back, err := u.Message(packed)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%s: another message came back, %v", name, err)
		}
	}
	if n := len(p.Message(message(t, tool))); n > len(tool)/2 {
		t.Errorf("one tool of %d bytes takes %d packed; want less than half", len(tool), n)
	}
	// The contract says what a packed message is.
	var r distributionv1.FollowResponse
	if err := proto.Unmarshal(p.Message(message(t, tool)), &r); err != nil || r.GetPacked().GetDictionary() != pack.Dictionary {
		t.Errorf("%v, %v", &r, err)
	}
}

func TestMalformed(t *testing.T) {
	p, u := both(t, 1<<20)
	good := p.Message(message(t, tool))
	wrap := func(m *distributionv1.Packed) []byte {
		b, err := proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Packed{Packed: m}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"cut":            good[:len(good)-1],
		"not alone":      append(bytes.Clone(good), 0x38, 1),
		"empty":          wrap(&distributionv1.Packed{Dictionary: 1}),
		"no frame":       wrap(&distributionv1.Packed{Dictionary: 1, Zstd: []byte("nothing of the kind")}),
		"beyond a limit": wrap(&distributionv1.Packed{Dictionary: 1, Zstd: p.Body(make([]byte, 2<<20))}),
	} {
		if plain, err := u.Message(b); !errors.Is(err, pack.ErrMalformed) {
			t.Errorf("%s: %d bytes, %v", name, len(plain), err)
		}
	}
}

// TestDictionaryIsForEver: a node of another build has the same one.
func TestDictionaryIsForEver(t *testing.T) {
	text, err := os.ReadFile("dictionary1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != "a553522541dd0b7615faae17b92ae5fb687af116242f6798ac6ed7eb033a1b14" {
		t.Errorf("dictionary 1 is another one, %x: a change needs the next number", sum)
	}
}

func FuzzMessage(f *testing.F) {
	p, u := both(f, 1<<20)
	f.Add(p.Message(message(f, tool)))
	f.Add(message(f, "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := u.Message(b)
		if err != nil {
			return
		}
		if len(plain) > 1<<20 && len(plain) != len(b) {
			t.Errorf("%d bytes came out of %d", len(plain), len(b))
		}
		packed := p.Message(plain)
		if bytes.Equal(packed, plain) {
			return // not worth it, or packed already
		}
		if back, err := u.Message(packed); len(plain) <= 1<<20 && (err != nil || !bytes.Equal(back, plain)) {
			t.Errorf("another message came back, %v", err)
		}
	})
}
