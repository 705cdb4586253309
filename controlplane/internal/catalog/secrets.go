// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// secretPlan is the secrets that one command stores, by the connection or identity provider. Secrets go to the authserver before
// the reference is committed, so a node never gets a reference to nothing; a version whose commit fails is collected
// there.
type secretPlan map[Key]*sealed

type sealed struct {
	uid          string // of the resource; made here for one that does not exist yet
	version      string // empty while nothing has been put: the first, trying run
	headers, env map[string]string
	clientSecret string // of an identity provider, or of a server's OAuth client

	pollToken   string // of an identity provider's signals: stored apart, under the key that signalsKey makes
	pollVersion string // as version
}

// signalsKey is what the authserver keeps the poll_token of an identity provider under. Its client_secret, under the uid alone, is
// another credential: which versions of one are still in use says nothing about the other.
func signalsKey(uid string) string { return uid + "/signals" }

// hasSecrets reports whether resources of a kind have secrets at the authserver that go when they are deleted. That of a server's
// OAuth client stays: a server can be brought back.
func hasSecrets(k Kind) bool { return len(secretsOf(k, "")) > 0 }

// secretsOf returns what the authserver keeps the secrets of a resource under that go when it is deleted.
func secretsOf(k Kind, uid string) []string {
	switch k {
	case KindConnection:
		return []string{uid}
	case KindIdentityProvider:
		return []string{uid, signalsKey(uid)}
	default:
		return nil
	}
}

// planOf gathers the secrets among the input.
func planOf(objects []Object) secretPlan {
	plan := make(secretPlan)
	for _, o := range objects {
		key := Key{Kind: o.Kind(), Name: o.Metadata().Name}
		switch o := o.(type) {
		case *Connection:
			if len(o.SecretHeaders)+len(o.SecretEnv) > 0 {
				plan[key] = &sealed{uid: uuid.NewString(), headers: maps.Clone(o.SecretHeaders), env: maps.Clone(o.SecretEnv)}
			}
		case *IdentityProvider:
			s := &sealed{uid: uuid.NewString(), clientSecret: o.ClientSecret}
			if o.SharedSignals != nil {
				s.pollToken = o.SharedSignals.PollToken
			}
			if s.clientSecret != "" || s.pollToken != "" {
				plan[key] = s
			}
		case *Server:
			if secret := o.ClientSecret(); secret != "" {
				plan[key] = &sealed{uid: uuid.NewString(), clientSecret: secret}
			}
		}
	}
	return plan
}

// pendingVersion stands for a version in a run that is not kept.
const pendingVersion = "pending"

// withSecrets runs fn as a write. If objects have secrets, it first runs fn without keeping what it
// does, so that nothing is handed out that will be refused, then puts the secrets, then writes.
func (c *Catalog) withSecrets(ctx context.Context, caller Caller, validateOnly bool, objects []Object, fn func(*draft) error) (Revision, bool, error) {
	plan := planOf(objects)
	if len(plan) == 0 {
		return c.write(ctx, caller, validateOnly, plan, fn)
	}
	if c.cfg.Secrets == nil {
		return 0, false, noSecrets()
	}
	if rev, _, err := c.write(ctx, caller, true, plan, fn); err != nil || validateOnly {
		return rev, false, err
	}
	if err := c.putSecrets(ctx, plan); err != nil {
		return 0, false, err
	}
	return c.write(ctx, caller, false, plan, fn)
}

func noSecrets() error {
	return fault.New(fault.Precondition, ReasonNoSecrets, "There is no authserver to keep secrets; start one, or leave the secrets out.")
}

// putSecrets hands what is planned to the authserver and notes the references.
func (c *Catalog) putSecrets(ctx context.Context, plan secretPlan) error {
	byKey := func(a, b Key) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) }
	for _, key := range slices.SortedFunc(maps.Keys(plan), byKey) {
		if err := c.putSecret(ctx, plan[key]); err != nil {
			return fmt.Errorf("put secrets of %s %s: %w", key.Kind.Label(), key.Name, err)
		}
	}
	return nil
}

func (c *Catalog) putSecret(ctx context.Context, s *sealed) (err error) {
	switch {
	case s.clientSecret != "":
		s.version, err = c.cfg.Secrets.PutClientSecret(ctx, s.uid, s.clientSecret)
	case s.pollToken == "":
		s.version, err = c.cfg.Secrets.Put(ctx, s.uid, s.headers, s.env)
	}
	if err == nil && s.pollToken != "" {
		s.pollVersion, err = c.cfg.Secrets.PutClientSecret(ctx, signalsKey(s.uid), s.pollToken)
	}
	return err
}

// seal refers a resource to the secrets that were put for it. One without new ones keeps what it has.
func (d *draft) seal(o Object, uid string) error {
	s := d.sealed[Key{Kind: o.Kind(), Name: o.Metadata().Name}]
	if s == nil {
		return nil
	}
	version, pollVersion := s.version, s.pollVersion
	switch {
	case version+pollVersion == "":
		s.uid, version, pollVersion = uid, pendingVersion, pendingVersion
	case s.uid != uid: // between the two runs somebody deleted and made it
		return fault.Newf(fault.Conflict, record.ReasonWriteConflict, "The %s was replaced meanwhile; read it again and try again.", desk.Refer(o))
	}
	switch o := o.(type) {
	case *IdentityProvider:
		if s.clientSecret != "" {
			o.SecretVersion = version
		}
		if s.pollToken != "" {
			o.SharedSignals.PollTokenVersion = pollVersion
		}
	case *Server:
		o.SetSecretVersion(version)
	case *Connection:
		o.CredentialVersion = version
		o.SecretNames = slices.Sorted(maps.Keys(s.headers))
		o.SecretNames = append(o.SecretNames, slices.Sorted(maps.Keys(s.env))...)
	}
	return nil
}

// noteSecretGarbage is the kind of notes that name connections and identity providers, by uid, whose secrets are to be deleted; an empty body says that
// they are.
const noteSecretGarbage = "secret_garbage"

// dropSecrets deletes what deleted connections and identity providers authenticated with. It is written down first, so that a lost authserver
// or control plane does not keep them: [Catalog.SweepSecrets] tries again.
func (c *Catalog) dropSecrets(ctx context.Context, uids []string) {
	if c.cfg.Secrets == nil {
		return
	}
	for _, uid := range uids {
		// The resource is gone already and its deletion cannot be taken back: what fails here is left to the sweep.
		_ = c.cfg.Store.Note(ctx, noteSecretGarbage, uid, []byte("1"))
	}
	_ = c.SweepSecrets(ctx)
}

// SweepSecrets deletes the secrets of deleted resources that could not be deleted before. It runs after each deletion of
// one that had some; a control plane also runs it at its start and now and then.
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
			return fmt.Errorf("delete secrets of %s: %w", uid, err)
		}
		if err := c.cfg.Store.Note(ctx, noteSecretGarbage, uid, nil); err != nil {
			return err
		}
	}
	return nil
}

// A password's length, in characters.
const (
	minPassword = 12
	maxPassword = 256
)

// SetPassword sets the password that a user logs in with where there is no identity provider, and ends the user's logins;
// an empty one takes it away. Administrators may, and users for themselves. The authserver keeps a hash of it: it makes no
// revision. Faults: NotFound, Denied, Invalid with reason PASSWORD_REFUSED, Precondition without an authserver.
func (c *Catalog) SetPassword(ctx context.Context, caller Caller, name, password string) error {
	var uid string
	err := c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		d := desk.New(r, caller)
		u, err := desk.See[*User](ctx, d, KindUser, name)
		if err != nil {
			return err
		}
		who, err := d.Who(ctx)
		if err != nil {
			return err
		}
		uid = u.UID
		return who.SetsPassword(u)
	})
	if err != nil {
		return err
	}
	if problem := passwordProblem(password); problem != "" {
		return fault.Newf(fault.Invalid, ReasonPasswordWeak, "The password %s.", problem).At("password", problem)
	}
	if c.cfg.Secrets == nil {
		return fault.New(fault.Precondition, ReasonNoSecrets, "There is no authserver to keep passwords; start one.")
	}
	if err := c.cfg.Secrets.SetPassword(ctx, uid, password); err != nil {
		return fmt.Errorf("set the password of user %s: %w", uid, err)
	}
	return nil
}

// passwordProblem says what is wrong with a password; empty if nothing is, or if there is none. What it may be made of is
// left to people (NIST SP 800-63B, section 5.1.1.2): only its length counts.
func passwordProblem(password string) string {
	switch n := utf8.RuneCountInString(password); {
	case password == "":
		return ""
	case !utf8.ValidString(password):
		return "is not valid UTF-8"
	case n < minPassword || n > maxPassword:
		return fmt.Sprintf("has %d characters; it needs %d to %d", n, minPassword, maxPassword)
	default:
		return ""
	}
}
