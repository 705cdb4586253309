// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a key set.
const (
	MaxKeys    = 100
	minRSABits = 2048
	maxRSABits = 8192
)

// ParseKeys reads a JSON Web Key Set (RFC 7517 §5) and returns its keys for signatures. Keys of kinds that are not used are
// left out; a private or symmetrical key refuses the set (CIMD-10).
func ParseKeys(body []byte) ([]jose.JSONWebKey, error) {
	members, err := object(body)
	if err != nil {
		return nil, errors.New("the key set is not strict JSON")
	}
	var set []json.RawMessage
	if err := json.Unmarshal(members["keys"], &set); err != nil {
		return nil, errors.New("the key set has no list of keys")
	}
	if len(set) > MaxKeys {
		return nil, errors.New("the key set has too many keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set {
		members, err := object(raw)
		if err != nil {
			return nil, errors.New("the key set has an entry that is no object")
		}
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
			if _, ok := members[name]; ok {
				return nil, errors.New("the key set has a private or symmetrical key")
			}
		}
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err == nil && usable(&k) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// usable reports whether a key can check a signature that is accepted.
func usable(k *jose.JSONWebKey) bool {
	if !k.Valid() || k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() && slices.Contains([]string{"", string(jose.ES256)}, k.Algorithm)
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= minRSABits && bits <= maxRSABits && slices.Contains([]string{"", string(jose.RS256), string(jose.PS256)}, k.Algorithm)
	case ed25519.PublicKey:
		return slices.Contains([]string{"", string(jose.EdDSA), "Ed25519"}, k.Algorithm)
	default:
		return false
	}
}
