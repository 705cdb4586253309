// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonConnectNotAllowed (Denied): the user may not install the server (G-18).
const ReasonConnectNotAllowed = "CONNECT_NOT_ALLOWED"

// Connecting is a credential that a person gave to the authserver.
type Connecting struct {
	UserUID           string
	Server            string   // name
	CredentialVersion string   // that the authserver keeps for the connection; empty makes the connection only
	SecretNames       []string // of the headers or variables in it
	Actor             string   // what the revision log keeps as who did it
}

// Connected is the user's connection.
type Connected struct {
	ConnectionUID string
	Connection    string // name
	// Revision has the connection as asked for; 0 if nothing had to be changed.
	Revision Revision
}

// ConnectServer makes a user's own connection of a server, if there is none, and sets which version of its credential counts. Of
// several that the user has it is the first by name, the one that nodes choose. It is one change, and none if nothing differs; two
// at the same moment make one connection. The faults are Denied with reason CONNECT_NOT_ALLOWED or USER_DEACTIVATED, NotFound for
// the server, Invalid with reason SECRET_KIND_MISMATCH for a version where Penstock makes the credential and SERVICE_ACCOUNT_OWNER where
// nobody has one of their own, and those of the store.
func (c *Catalog) ConnectServer(ctx context.Context, in Connecting) (Connected, error) {
	in.SecretNames = slices.Compact(slices.Sorted(slices.Values(in.SecretNames)))
	var out Connected
	run := func(tx Tx) (err error) {
		k := &connecting{Connecting: in, draft: &draft{Draft: desk.NewDraft(tx, Caller{System: true}), c: c}}
		out, err = k.run(ctx)
		return err
	}
	err := c.cfg.Store.Read(ctx, func(_ Head, r Reader) error { return run(onlyReads{r}) })
	if err == nil {
		return out, nil
	}
	if !errors.Is(err, errWrites) {
		return Connected{}, err
	}
	rev, changed, err := c.inTurn(ctx, in.Actor, run)
	if err != nil {
		return Connected{}, err
	}
	if changed {
		out.Revision = rev
	}
	return out, nil
}

// connecting is one in a transaction.
type connecting struct {
	Connecting

	*draft
}

func (k *connecting) run(ctx context.Context) (Connected, error) {
	user, err := k.user(ctx)
	if err != nil {
		return Connected{}, err
	}
	server, err := desk.Find[*Server](ctx, k.Desk, KindServer, k.Server)
	if err != nil {
		return Connected{}, err
	}
	if server == nil {
		return Connected{}, desk.NotFound(KindServer, k.Server)
	}
	owner := &resource.Owner{User: user.Name}
	outside := access.OwnerMayUse(server, owner, k.Memberships(ctx))
	if err := k.Failed(); err != nil {
		return Connected{}, err
	}
	if outside != nil {
		return Connected{}, fault.Newf(fault.Denied, ReasonConnectNotAllowed, "You may not connect %q: it is not visible to you. Ask an administrator.", server.Name)
	}
	if server.Made() && k.CredentialVersion != "" {
		return Connected{}, fault.Newf(fault.Invalid, admission.ReasonSecretKind, "The connections of %q hold no credential: Penstock makes it.", server.Name)
	}
	// Listed, so that nobody makes another one meanwhile; in the order of their names.
	all, err := desk.All[*Connection](ctx, k.Desk, KindConnection)
	if err != nil {
		return Connected{}, err
	}
	taken := make(map[string]bool, len(all))
	var own *Connection
	for _, c := range all {
		taken[c.Name] = true
		if own == nil && c.Server == server.Name && c.Owner != nil && c.Owner.User == user.Name {
			own = c
		}
	}
	if own != nil {
		return k.set(ctx, own)
	}
	name := connectionName(server.Name, user.UID)
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", connectionName(server.Name, user.UID), n)
	}
	made := &Connection{Meta: Meta{Name: name}, Server: server.Name, Owner: owner, CredentialVersion: k.CredentialVersion}
	if made.CredentialVersion != "" {
		made.SecretNames = k.SecretNames
	}
	if err := k.create(ctx, made); err != nil {
		return Connected{}, err
	}
	stored, err := desk.Find[*Connection](ctx, k.Desk, KindConnection, name)
	if err != nil {
		return Connected{}, err
	}
	return Connected{ConnectionUID: stored.UID, Connection: name}, nil
}

// user finds the user by uid. One that is gone is shut out like one that is deactivated.
func (k *connecting) user(ctx context.Context) (*User, error) {
	recs, err := k.R.ListPrefix(ctx, KindUser, "")
	if err != nil {
		return nil, err
	}
	for _, rec := range recs {
		if rec.UID != k.UserUID {
			continue
		}
		u, err := desk.Find[*User](ctx, k.Desk, KindUser, rec.Name)
		if err != nil {
			return nil, err
		}
		if u != nil && !u.Deactivated {
			return u, nil
		}
	}
	return nil, fault.New(fault.Denied, ReasonUserDeactivated, "The user is deactivated; ask an administrator.")
}

// set has a version of the credential of a connection count.
func (k *connecting) set(ctx context.Context, stored *Connection) (Connected, error) {
	out := Connected{ConnectionUID: stored.UID, Connection: stored.Name}
	if k.CredentialVersion == "" || k.CredentialVersion == stored.CredentialVersion && slices.Equal(k.SecretNames, stored.SecretNames) {
		return out, nil
	}
	next, err := resource.Clone(stored)
	if err != nil {
		return Connected{}, err
	}
	next.CredentialVersion, next.SecretNames = k.CredentialVersion, k.SecretNames
	return out, k.store(ctx, stored, next, stored.UID)
}

// The name of a connection that a person made by connecting a server: the server's, as far as there is room, and digits that say
// nothing about whose it is, since names stand in logs.
const (
	mostSlug   = 63
	nameDigits = 16
	nameRoom   = 4 // for "-999" behind
)

func connectionName(server, userUID string) string {
	sum := sha256.Sum256([]byte(server + "/" + userUID))
	digits := hex.EncodeToString(sum[:])[:nameDigits]
	most := mostSlug - nameRoom - 1 - nameDigits
	return strings.TrimRight(server[:min(len(server), most)], "-") + "-" + digits
}
