// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const (
	// endedPrefix begins the name under which the vault keeps a grant that is to be revoked: "ended:<connection>/<version>".
	endedPrefix = "ended:"
	// endedVersion is the one version there.
	endedVersion = "grant"
)

// End takes the credential of a connection (uid) out of use at once, whatever it is, and returns how many versions there were. The
// grants among them are noted in the same transaction, so that they are revoked at their authorization servers ([Upstream.Revoke])
// although nobody can use them here any more (UP-11). It asks nobody, and is idempotent.
func (u *Upstream) End(ctx context.Context, connection string) (n int, err error) {
	err = u.c.Audit.Update(ctx, func(ctx context.Context, _ store.OAuthTx) error {
		held, err := u.c.Vault.Versions(ctx, connection)
		if err != nil {
			return err
		}
		for _, h := range held {
			if h.Secret.Grant == "" {
				continue
			}
			g, err := grantOf(h.Secret)
			if err != nil {
				continue // of a form that nobody knows: there is nothing to revoke it with
			}
			if err := u.keepEnded(ctx, connection, h.Version(), g); err != nil {
				return err
			}
		}
		n, err = u.c.Vault.Delete(ctx, connection)
		return err
	})
	if err == nil && n > 0 {
		u.wake()
	}
	return n, err
}

// note keeps a grant to be revoked that has no connection any more.
func (u *Upstream) note(ctx context.Context, connection, version string, g *grant) error {
	// Renewed, so that the grant of before may be noted already, under the version.
	if err := u.keepEnded(context.WithoutCancel(ctx), connection, version+"+", g); err != nil {
		return err
	}
	u.wake()
	return nil
}

func (u *Upstream) keepEnded(ctx context.Context, connection, version string, g *grant) error {
	if g.Dead || g.Access == "" && g.Refresh == "" {
		return nil // its authorization server has ended it
	}
	secret, err := g.secret()
	if err != nil {
		return err
	}
	_, err = u.c.Vault.PutOnce(ctx, endedPrefix+connection+"/"+version, endedVersion, secret)
	return err
}

// wake lets [Upstream.Revoke] look.
func (u *Upstream) wake() {
	select {
	case u.ended <- struct{}{}:
	default: // it is about to look
	}
}
