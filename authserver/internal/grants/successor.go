// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// successorInfo separates the key from every other one that might be made of a refresh token (RFC 5869 §3.2).
const successorInfo = "penstock refresh token successor 1"

// sealSuccessor encrypts a refresh token's successor (AES-256-GCM) under a key that is made of the token itself
// (HKDF-SHA256), of which the store has the hash only: the database alone gives away nothing (TK-9). The ciphertext is bound
// to the row of the token and its family.
func sealSuccessor(presented string, token store.RefreshToken, successor string) ([]byte, error) {
	box, err := successorBox(presented)
	if err != nil {
		return nil, err
	}
	return box.Seal(nil, nil, []byte(successor), successorData(token)), nil //nolint:gosec // the box makes its nonce itself
}

// openSuccessor returns what sealSuccessor encrypted for the same token.
func openSuccessor(presented string, token store.RefreshToken) (string, error) {
	box, err := successorBox(presented)
	if err != nil {
		return "", err
	}
	plain, err := box.Open(nil, nil, token.Successor, successorData(token))
	if err != nil {
		return "", errors.New("open the successor of a refresh token: the row was changed")
	}
	return string(plain), nil
}

func successorBox(presented string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(presented), nil, successorInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("make the key of a successor: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("prepare the cipher of a successor: %w", err)
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("prepare the cipher of a successor: %w", err)
	}
	return box, nil
}

func successorData(token store.RefreshToken) []byte {
	return append(token.Hash[:], token.Grant...)
}
