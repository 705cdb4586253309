// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonConfig is the reason of the fault of [Parse].
const ReasonConfig = "SEAL_KEYSET_INVALID"

// KeySize is the length of one raw key in bytes; there is no key derivation.
const KeySize = chacha20poly1305.KeySize

const (
	keyIDSize        = 4
	fingerprintBytes = 8
	maxKeys          = 2
)

// Keyset is the current key, which seals, and the one before it, which only opens. It is safe for concurrent use.
type Keyset struct {
	current, previous *key // previous is nil where the setting has one key
	fingerprint       string
	text              *base64.Encoding // strict: spare bits of the last character are zero
	scratch           sync.Pool        // of *scratch
}

type key struct {
	id     [keyIDSize]byte
	aead   cipher.AEAD
	nonces [sha256.Size]byte // key of the nonces of [Keyset.SealSame]
}

// Parse reads the setting seal_keyset: one or two keys of 32 bytes in base64 (standard or URL alphabet, padded or not),
// the current one first, separated by commas or white space. To rotate, put the new key in front of the present one on
// every node, and drop the old one after the longest life of a token.
//
// The fault is Invalid, SEAL_KEYSET_INVALID; it never repeats the setting.
func Parse(setting string) (*Keyset, error) {
	words := strings.FieldsFunc(setting, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })
	if len(words) == 0 || len(words) > maxKeys {
		return nil, invalid("must hold one or two keys")
	}
	k := &Keyset{text: base64.RawURLEncoding.Strict()}
	k.scratch.New = func() any { return new(scratch) }
	sum := sha256.New()
	sum.Write([]byte("penstock seal fingerprint"))
	for i, word := range words {
		raw, err := decodeKey(word)
		if err != nil {
			return nil, err
		}
		sum.Write(raw)
		one, err := newKey(raw)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			k.current = one
			continue
		}
		if one.id == k.current.id {
			return nil, invalid("holds the same key twice")
		}
		k.previous = one
	}
	k.fingerprint = hex.EncodeToString(sum.Sum(nil)[:fingerprintBytes])
	return k, nil
}

// Generate returns a setting for [Parse] with one new random key.
func Generate() string {
	var raw [KeySize]byte
	_, _ = rand.Read(raw[:]) // crypto/rand never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(raw[:])
}

// Fingerprint returns 16 hexadecimal digits that are equal exactly on nodes with the same keys in the same order; they
// tell nothing about the keys. Nodes report it, so that a mismatch is seen before sessions break.
func (k *Keyset) Fingerprint() string { return k.fingerprint }

// String is safe to print: it shows the fingerprint, never a key.
func (k *Keyset) String() string { return "keyset#" + k.fingerprint }

// GoString is [Keyset.String], so that %#v is safe too.
func (k *Keyset) GoString() string { return k.String() }

// LogValue is [Keyset.String], so that a keyset in a log attribute is safe too.
func (k *Keyset) LogValue() slog.Value { return slog.StringValue(k.String()) }

func newKey(raw []byte) (*key, error) {
	aead, err := chacha20poly1305.NewX(raw)
	if err != nil {
		return nil, invalid("holds a key that is not 32 bytes long").Because(err)
	}
	k := &key{aead: aead}
	sum := sha256.New()
	sum.Write([]byte("penstock seal key id"))
	sum.Write(raw)
	copy(k.id[:], sum.Sum(nil))
	sum.Reset()
	sum.Write([]byte("penstock seal nonce"))
	sum.Write(raw)
	copy(k.nonces[:], sum.Sum(nil))
	return k, nil
}

func decodeKey(word string) ([]byte, error) {
	word = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(word, "="))
	raw, err := base64.RawStdEncoding.DecodeString(word)
	if err != nil {
		// The cause names the bad byte of a key: it stays out of logs.
		return nil, invalid("holds a key that is not base64")
	}
	if len(raw) != KeySize {
		return nil, invalid("holds a key that is not 32 bytes long")
	}
	return raw, nil
}

func invalid(problem string) *fault.Fault {
	return fault.New(fault.Invalid, ReasonConfig, "The keyset for sealed tokens cannot be used: it "+problem+".").At("seal_keyset", problem)
}
