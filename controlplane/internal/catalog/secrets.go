// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// secretPlan is the secrets that one command stores, by the name of their connection. Secrets go to the authserver before
// the reference is committed, so a node never gets a reference to nothing; a version whose commit fails is collected
// there.
type secretPlan map[string]*sealed

type sealed struct {
	uid          string // of the connection; made here for one that does not exist yet
	version      string // empty while nothing has been put: the first, trying run
	headers, env map[string]string
}

// pendingVersion stands for a version in a run that is not kept.
const pendingVersion = "pending"

// withSecrets runs fn as a write. If connections among the objects have secrets, it first runs fn without keeping what it
// does, so that nothing is handed out that will be refused, then puts the secrets, then writes.
func (c *Catalog) withSecrets(ctx context.Context, caller Caller, validateOnly bool, objects []Object, fn func(*draft) error) (Revision, bool, error) {
	plan := make(secretPlan)
	for _, o := range objects {
		if conn, ok := o.(*Connection); ok && len(conn.SecretHeaders)+len(conn.SecretEnv) > 0 {
			plan[conn.Name] = &sealed{uid: uuid.NewString(), headers: maps.Clone(conn.SecretHeaders), env: maps.Clone(conn.SecretEnv)}
		}
	}
	if len(plan) == 0 {
		return c.write(ctx, caller, validateOnly, plan, fn)
	}
	if c.cfg.Secrets == nil {
		return 0, false, fault.New(fault.Precondition, ReasonNoSecrets, "There is no authserver to keep secrets; start one, or leave the secrets out.")
	}
	if rev, _, err := c.write(ctx, caller, true, plan, fn); err != nil || validateOnly {
		return rev, false, err
	}
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		s := plan[name]
		version, err := c.cfg.Secrets.Put(ctx, s.uid, s.headers, s.env)
		if err != nil {
			return 0, false, fmt.Errorf("put secrets of connection %s: %w", name, err)
		}
		s.version = version
	}
	return c.write(ctx, caller, false, plan, fn)
}

// seal refers a connection to the secrets that were put for it. A connection without new ones keeps what it has.
func (d *draft) seal(c *Connection, uid string) error {
	s := d.sealed[c.Name]
	if s == nil {
		return nil
	}
	switch {
	case s.version == "":
		s.uid, c.CredentialVersion = uid, pendingVersion
	case s.uid != uid: // between the two runs somebody deleted and made the connection
		return fault.Newf(fault.Conflict, record.ReasonWriteConflict, "The connection %q was replaced meanwhile; read it again and try again.", c.Name)
	default:
		c.CredentialVersion = s.version
	}
	c.SecretNames = slices.Sorted(maps.Keys(s.headers))
	c.SecretNames = append(c.SecretNames, slices.Sorted(maps.Keys(s.env))...)
	return nil
}

// noteSecretGarbage is the kind of notes that name connections whose secrets are to be deleted; an empty body says that
// they are.
const noteSecretGarbage = "secret_garbage"

// dropSecrets deletes what deleted connections authenticated with. It is written down first, so that a lost authserver
// or control plane does not keep them: [Catalog.SweepSecrets] tries again.
func (c *Catalog) dropSecrets(ctx context.Context, uids []string) {
	if c.cfg.Secrets == nil {
		return
	}
	for _, uid := range uids {
		// The connection is gone already and its deletion cannot be taken back: what fails here is left to the sweep.
		_ = c.cfg.Store.Note(ctx, noteSecretGarbage, uid, []byte("1"))
	}
	_ = c.SweepSecrets(ctx)
}

// SweepSecrets deletes the secrets of deleted connections that could not be deleted before. It runs after each deletion
// of a connection; a control plane also runs it at its start and now and then.
func (c *Catalog) SweepSecrets(ctx context.Context) error {
	if c.cfg.Secrets == nil {
		return nil
	}
	garbage, err := c.cfg.Store.Notes(ctx, noteSecretGarbage)
	if err != nil {
		return err
	}
	for _, uid := range slices.Sorted(maps.Keys(garbage)) {
		if len(garbage[uid]) == 0 {
			continue
		}
		if err := c.cfg.Secrets.Delete(ctx, uid); err != nil {
			return fmt.Errorf("delete secrets of connection %s: %w", uid, err)
		}
		if err := c.cfg.Store.Note(ctx, noteSecretGarbage, uid, nil); err != nil {
			return err
		}
	}
	return nil
}
