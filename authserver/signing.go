// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
)

// SigningSettings are what an operator does to the keys that sign tokens: one of them, and the program ends. Running
// processes on the same database take it up by themselves, within seconds.
type SigningSettings struct {
	List   bool   `name:"list" help:"print the signing keys: identifier (kid), state, and since when, and end"`
	Rotate bool   `name:"rotate" help:"let the next signing key sign before its time, and end; tokens that are out stay good"`
	Revoke string `name:"revoke" help:"in an emergency: identifier (kid) of a signing key; all tokens that it signed die within seconds, and end"`
}

// Asked reports whether the settings ask for a change or a list of the signing keys in place of a server.
func (s SigningSettings) Asked() bool { return s.count() > 0 }

func (s SigningSettings) count() (n int) {
	for _, one := range []bool{s.List, s.Rotate, s.Revoke != ""} {
		if one {
			n++
		}
	}
	return n
}

// Signing does what the settings' signing asks for, in the store that a server may be using at this moment; a list goes to
// out. Rotate is refused with Precondition, SIGNING_KEY_TOO_NEW, until the next key has been published for an hour (KM-1);
// revoke with NotFound, SIGNING_KEY_MISSING, if there is no such key (KM-3).
func Signing(ctx context.Context, c Config, out io.Writer) (err error) {
	s, err := New(c)
	if err != nil {
		return err
	}
	db, err := sqlstore.Open(ctx, c.Database.Reveal())
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if c.Signing.List {
		return listSigning(ctx, db, out)
	}
	v, err := s.openVault(ctx, db)
	if err != nil {
		return err
	}
	k, err := keys.New(keys.Config{Store: db, Vault: v, Retain: c.OAuth.AccessTokenLife + skew, Log: c.Telemetry.Log})
	if err != nil {
		return err
	}
	if c.Signing.Rotate {
		return k.Rotate(ctx)
	}
	return k.Revoke(ctx, c.Signing.Revoke)
}

func listSigning(ctx context.Context, db *sqlstore.Store, out io.Writer) error {
	list, err := db.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	for _, one := range list {
		if _, err := fmt.Fprintf(out, "%s %-7s %s\n", one.ID, one.State, one.StateTime.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}
