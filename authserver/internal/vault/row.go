// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"

	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

// SealRow encrypts what another room keeps in its own table. The ciphertext opens for the same table, row and column only
// (SE-2). keyID is stored beside it.
func (v *Vault) SealRow(ctx context.Context, table, row, column string, plain []byte) (keyID string, sealed []byte, err error) {
	keyID, sealed, err = envelope.Seal(ctx, v.kms, envelope.Cell{Table: table, Row: []string{row}, Column: column}, plain)
	if err != nil {
		return "", nil, fmt.Errorf("seal %s: %w", table, err)
	}
	return keyID, sealed, nil
}

// OpenRow decrypts what [Vault.SealRow] made. The caller overwrites the plain form after use.
func (v *Vault) OpenRow(ctx context.Context, table, row, column, keyID string, sealed []byte) ([]byte, error) {
	plain, err := envelope.Open(ctx, v.kms, envelope.Cell{Table: table, Row: []string{row}, Column: column}, keyID, sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", table, err)
	}
	return plain, nil
}
