// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a key set (JW-6).
const (
	maxBytes   = 512 << 10
	maxKeys    = 100
	maxID      = 512 // bytes of a kid that is looked for
	minRSABits = 2048
	maxRSABits = 8192
)

// Key is one public key for signatures. Immutable.
type Key struct {
	// ID is its kid, empty if it has none.
	ID string
	// Public is an *ecdsa.PublicKey, an *rsa.PublicKey or an ed25519.PublicKey.
	Public crypto.PublicKey
	// Thumbprint is that of RFC 7638: two keys are the same if it is.
	Thumbprint [sha256.Size]byte

	algorithms []string
}

// Fits reports whether a signature of an algorithm may be checked with the key: kty, crv and alg of the key agree with it
// (RFC 8725 §3.1, JW-3). All are asymmetric (RFC 7518 §3.1, RFC 8037 §3.1).
func (k *Key) Fits(algorithm string) bool { return slices.Contains(k.algorithms, algorithm) }

// parse reads a JSON Web Key Set (RFC 7517 §5). Keys that no signature is checked with are left out, and so are private and
// symmetrical ones: who may read the set could sign with them.
func parse(body []byte) ([]*Key, error) {
	var members map[string]json.RawMessage // a map, because member names are exact
	if json.Unmarshal(body, &members) != nil {
		return nil, errors.New("the key set is not a JSON object")
	}
	var set []json.RawMessage
	if json.Unmarshal(members["keys"], &set) != nil || set == nil {
		return nil, errors.New("the key set has no list of keys")
	}
	if len(set) > maxKeys {
		return nil, errors.New("the key set has more than 100 keys")
	}
	keys := make([]*Key, 0, len(set))
	for _, raw := range set {
		if k := readKey(raw); k != nil && !slices.ContainsFunc(keys, func(other *Key) bool { return other.ID == k.ID && other.Thumbprint == k.Thumbprint }) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// readKey returns a key that signatures may be checked with, nil if raw is another.
func readKey(raw json.RawMessage) *Key {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := members[name]; ok {
			return nil
		}
	}
	if ops, ok := members["key_ops"]; ok {
		var list []string
		if json.Unmarshal(ops, &list) != nil || !slices.Contains(list, "verify") {
			return nil
		}
	}
	var k jose.JSONWebKey
	if k.UnmarshalJSON(raw) != nil || !k.Valid() || k.Use != "" && k.Use != "sig" {
		return nil
	}
	algorithms := fitting(&k)
	if k.Algorithm != "" {
		named := k.Algorithm
		if named == "Ed25519" { // RFC 9864 §2.2, the same signatures
			named = string(jose.EdDSA)
		}
		if !slices.Contains(algorithms, named) {
			return nil
		}
		algorithms = []string{named}
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil || len(sum) != sha256.Size || len(algorithms) == 0 {
		return nil
	}
	return &Key{ID: k.KeyID, Public: k.Key, Thumbprint: [sha256.Size]byte(sum), algorithms: algorithms}
}

// fitting returns the algorithms that a key's type and curve are for.
func fitting(k *jose.JSONWebKey) []string {
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
