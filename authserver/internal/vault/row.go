// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"
)

// SealRow encrypts what another room keeps in its own table. The ciphertext opens for the same table, row and column only
// (SE-2). keyID is stored beside it.
func (v *Vault) SealRow(ctx context.Context, table, row, column string, plain []byte) (keyID string, sealed []byte, err error) {
	keyID, sealed, err = seal(ctx, v.kms, cell{table: table, row: []string{row}, col: column}, plain)
	if err != nil {
		return "", nil, fmt.Errorf("seal %s: %w", table, err)
	}
	return keyID, sealed, nil
}

// OpenRow decrypts what [Vault.SealRow] made. The caller overwrites the plain form after use.
func (v *Vault) OpenRow(ctx context.Context, table, row, column, keyID string, sealed []byte) ([]byte, error) {
	plain, err := open(ctx, v.kms, cell{table: table, row: []string{row}, col: column}, keyID, sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", table, err)
	}
	return plain, nil
}
