// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	defaultTTL   = 90 * 24 * time.Hour // ST-4
	bootstrapTTL = 365 * 24 * time.Hour
)

// createToken mints a bearer token. The token itself is in the answer and nowhere else (ST-2, ST-3).
func (c *Catalog) createToken(ctx context.Context, caller Caller, t *BearerToken, opt WriteOptions) (Written, error) {
	in, err := resource.Clone(t)
	if err != nil {
		return Written{}, err
	}
	resource.Normalize(in)
	if in.Name == "" {
		in.Name = tokenName()
	}
	token, sha := ident.MintBearer(tokenKind(in.Owner))
	var out Object
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if err := d.mint(ctx, in, hex.EncodeToString(sha[:])); err != nil {
			return err
		}
		out, err = d.Full(ctx, KindBearerToken, in.Name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	w, err := c.written(ctx, out, rev, changed, opt)
	if !opt.ValidateOnly {
		w.Token = token
	}
	return w, err
}

// tokenName makes a name for a token without one.
func tokenName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return "token-" + hex.EncodeToString(b[:])
}

func tokenKind(o *resource.Owner) ident.Kind {
	switch {
	case o == nil, o.User != "":
		return ident.KindUser
	case o.Team != "":
		return ident.KindTeam
	case o.ServiceAccount != "":
		return ident.KindServiceAccount
	default:
		return ident.KindOrganization
	}
}

// mint stores a token's resource under the hash of the token.
func (d *draft) mint(ctx context.Context, in *BearerToken, sha string) error {
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	if err := who.Creates(in); err != nil {
		return err
	}
	exists, err := desk.Find[*BearerToken](ctx, d.Desk, KindBearerToken, in.Name)
	if err != nil {
		return err
	}
	if exists != nil {
		return fault.Newf(fault.AlreadyExists, ReasonAlreadyExists, "There is a bearer token %q already; choose another name.", in.Name)
	}
	if err := admission.Token(ctx, d.Desk, in); err != nil {
		return err
	}
	ttl := defaultTTL
	if in.TTL != nil {
		ttl = time.Duration(*in.TTL)
	}
	in.ExpireTime = d.c.cfg.Now().UTC().Add(ttl).Truncate(time.Second)
	if in.Creator = d.Caller.Email; d.Caller.System {
		in.Creator = "system"
	}
	return d.Put(ctx, in, uuid.NewString(), sha)
}

// Authenticate returns the administrator whose admin-API token it is. Every other token, and one whose owner is
// deactivated, is fault.Unauthenticated with reason TOKEN_REFUSED.
func (c *Catalog) Authenticate(ctx context.Context, token string) (Caller, error) {
	refuse := fault.New(fault.Unauthenticated, ReasonTokenRefused, "The bearer token is not known; make one with: penstock token create --admin-api.")
	_, sha, ok := ident.ParseBearer(token)
	if !ok {
		return Caller{}, refuse
	}
	var caller Caller
	err := c.cfg.Store.Read(ctx, func(head Head, r Reader) error {
		d := desk.New(r, Caller{})
		t, end, err := c.tokenOf(ctx, head, d, hex.EncodeToString(sha[:]))
		switch {
		case err != nil:
			return err
		case t == nil:
			return refuse
		case !t.AdminAPI:
			return fault.New(fault.Unauthenticated, ReasonTokenRefused, "The bearer token is made for gateways and does not open the admin API.")
		case !end.After(c.cfg.Now()):
			return fault.New(fault.Unauthenticated, ReasonTokenRefused, "The bearer token has expired; make a new one.")
		}
		u, err := desk.Find[*User](ctx, d, KindUser, t.Owner.User)
		if err != nil {
			return err
		}
		if u == nil || u.Deactivated {
			return refuse
		}
		caller = Caller{UserUID: u.UID, Email: u.Name, Role: u.Role, TokenName: t.Name}
		return nil
	})
	if err != nil {
		return Caller{}, err
	}
	return caller, c.facts.NoteUse(ctx, caller.TokenName)
}

// tokenOf returns the token with a secret, by its hexadecimal SHA-256, and when that secret ends: the one it has, or the one it
// had before its rotation (ST-6). It is nil if there is none.
func (c *Catalog) tokenOf(ctx context.Context, head Head, d *desk.Desk, sha string) (t *BearerToken, end time.Time, err error) {
	rec, err := d.R.Lookup(ctx, KindBearerToken, sha)
	if err != nil {
		return nil, end, err
	}
	if rec != nil {
		if t, err = desk.Find[*BearerToken](ctx, d, KindBearerToken, rec.Name); t != nil {
			end = t.ExpireTime
		}
		return t, end, err
	}
	name, err := c.rotated.find(ctx, head, d, sha)
	if err != nil || name == "" {
		return nil, end, err
	}
	if t, err = desk.Find[*BearerToken](ctx, d, KindBearerToken, name); t != nil {
		end = t.PreviousExpireTime
	}
	return t, end, err
}

// Bootstrap makes the first administrator and a token for the admin API, which lives 365 days. It does so once: when an
// active ADMIN exists, created is false and nothing is made.
func (c *Catalog) Bootstrap(ctx context.Context, email string) (token string, created bool, err error) {
	email = resource.NormalizeName(KindUser, email)
	token, sha := ident.MintBearer(ident.KindUser)
	_, _, err = c.write(ctx, Caller{System: true}, false, nil, func(d *draft) error {
		created = false
		users, err := desk.All[*User](ctx, d.Desk, KindUser)
		if err != nil || slices.ContainsFunc(users, admission.IsAdmin) {
			return err
		}
		created = true
		admin := &User{Meta: Meta{Name: email}, Role: RoleAdmin}
		if slices.ContainsFunc(users, func(u *User) bool { return u.Name == email }) {
			_, err = d.update(ctx, admin, []string{"role", "deactivated"})
		} else {
			err = d.create(ctx, admin)
		}
		if err != nil {
			return err
		}
		ttl := resource.Duration(bootstrapTTL)
		name := "admin-" + strings.TrimPrefix(tokenName(), "token-")
		return d.mint(ctx, &BearerToken{
			Meta: Meta{Name: name}, DisplayName: "First administrator", Owner: &resource.Owner{User: email}, AdminAPI: true, TTL: &ttl,
		}, hex.EncodeToString(sha[:]))
	})
	if err != nil || !created {
		return "", false, err
	}
	return token, true, nil
}

const (
	prefixClientSecret = "psc_" // ST-1
	maxClientSecrets   = 2
)

// CreateClientSecret makes a new secret of an OAuth client, which is in the answer's Token and nowhere else: only its hash
// is stored. The newest secret before stays good until the next one is made, unless the others are dropped. Faults:
// NotFound, Denied, and Precondition with reason CLIENT_TAKES_NO_SECRET.
func (c *Catalog) CreateClientSecret(ctx context.Context, caller Caller, name string, dropOthers bool) (Written, error) {
	secret, sha := ident.MintSecret(prefixClientSecret)
	var out Object
	rev, changed, err := c.write(ctx, caller, false, nil, func(d *draft) (err error) {
		client, err := desk.See[*OAuthClient](ctx, d.Desk, KindOAuthClient, name)
		if err != nil {
			return err
		}
		who, err := d.Who(ctx)
		if err != nil {
			return err
		}
		if err := who.Manages(client); err != nil {
			return err
		}
		if client.Authentication != resource.ClientAuthSecret {
			return fault.Newf(fault.Precondition, ReasonNoClientSecret, "The OAuth client %q does not authenticate with a secret; set its authentication to CLIENT_SECRET first.", client.Name)
		}
		kept := client.SecretSHA256
		if dropOthers {
			kept = nil
		}
		client.SecretSHA256 = append([][]byte{sha[:]}, kept[:min(len(kept), maxClientSecrets-1)]...)
		client.SecretTime = d.c.cfg.Now().UTC().Truncate(time.Second)
		if err := d.Put(ctx, client, client.UID, ""); err != nil {
			return err
		}
		out, err = d.Full(ctx, KindOAuthClient, client.Name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	w, err := c.written(ctx, out, rev, changed, WriteOptions{})
	w.Token = secret
	return w, err
}
