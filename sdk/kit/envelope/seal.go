// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
)

// Cell is the place in the database that a ciphertext belongs to.
type Cell struct {
	Table  string
	Row    []string // the primary key
	Column string
}

// associated returns the associated data of a cell. Each part stands with its length, so that no two cells have the same
// text, whatever their parts say.
func (c Cell) associated() []byte {
	var b []byte
	for _, part := range append(append([]string{c.Table}, c.Row...), c.Column) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// Seal encrypts plain for a cell under the KMS's primary key and returns that key's id.
func Seal(ctx context.Context, kms KMS, c Cell, plain []byte) (keyID string, sealed []byte, err error) {
	keyID, err = kms.Primary(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("find the primary key: %w", err)
	}
	e, err := envelope(ctx, kms, keyID)
	if err != nil {
		return "", nil, err
	}
	sealed, err = e.EncryptWithContext(ctx, plain, c.associated())
	if err != nil {
		return "", nil, fmt.Errorf("seal: %w", err)
	}
	return keyID, sealed, nil
}

// Open decrypts what Seal made for the same cell. It fails for every other cell.
func Open(ctx context.Context, kms KMS, c Cell, keyID string, sealed []byte) ([]byte, error) {
	e, err := envelope(ctx, kms, keyID)
	if err != nil {
		return nil, err
	}
	plain, err := e.DecryptWithContext(ctx, sealed, c.associated())
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return plain, nil
}

func envelope(ctx context.Context, kms KMS, keyID string) (*aead.KMSEnvelopeAEADWithContext, error) {
	key, err := kms.Key(ctx, keyID)
	if err != nil {
		return nil, fmt.Errorf("find key %s: %w", keyID, err)
	}
	e, err := aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), key)
	if err != nil {
		return nil, fmt.Errorf("prepare the envelope: %w", err)
	}
	return e, nil
}
