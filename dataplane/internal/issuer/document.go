// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/go-jose/go-jose/v4"
)

// Document is what the authserver says of itself.
type Document struct {
	Issuer   string `json:"issuer"`
	Metadata []byte `json:"metadata"` // RFC 8414, byte for byte as it is served
	JWKS     []byte `json:"jwks"`     // RFC 7517, public keys
}

// Bounds of a document (as JW-6).
const (
	maxMetadata = 512 << 10
	maxJWKS     = 512 << 10
	maxKeys     = 100
)

func (d *Document) equal(other *Document) bool {
	return d.Issuer == other.Issuer && bytes.Equal(d.Metadata, other.Metadata) && bytes.Equal(d.JWKS, other.JWKS)
}

// read checks a document and returns its keys by kid. What is no ES256 key is for others.
func (d *Document) read() (map[string]*ecdsa.PublicKey, error) {
	u, err := url.Parse(d.Issuer)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the issuer is no URL")
	}
	if len(d.Metadata) > maxMetadata || len(d.JWKS) > maxJWKS {
		return nil, errors.New("a document is too large")
	}
	var metadata map[string]json.RawMessage // a map, because member names are exact
	var issuer string
	if err := json.Unmarshal(d.Metadata, &metadata); err != nil {
		return nil, fmt.Errorf("read the metadata: %w", err)
	}
	if err := json.Unmarshal(metadata["issuer"], &issuer); err != nil || issuer != d.Issuer {
		return nil, errors.New("the metadata is of another issuer")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(d.JWKS, &set); err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, errors.New("the key set is too large")
	}
	keys := make(map[string]*ecdsa.PublicKey, len(set.Keys))
	for _, raw := range set.Keys {
		if kid, key := readKey(raw); key != nil {
			keys[kid] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key of ES256")
	}
	return keys, nil
}

// readKey returns a key that access tokens may be signed with, nil if raw is another.
func readKey(raw []byte) (kid string, key *ecdsa.PublicKey) {
	var k jose.JSONWebKey
	if k.UnmarshalJSON(raw) != nil || k.KeyID == "" || k.Algorithm != string(jose.ES256) || (k.Use != "" && k.Use != "sig") {
		return "", nil
	}
	key, ok := k.Key.(*ecdsa.PublicKey) // a private key never leaves the authserver, and would not count here
	if !ok || key.Curve != elliptic.P256() {
		return "", nil
	}
	return k.KeyID, key
}
