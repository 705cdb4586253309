// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// maxOverlap is how long a token is accepted at most as it was before its rotation (ST-6).
const maxOverlap = 24 * time.Hour

// RotateOptions change how a token is rotated.
type RotateOptions struct {
	// Overlap is how long the old secret stays good, at most 24 h; nil means 24 h, and 0 ends it now.
	Overlap *resource.Duration
	// TTL is the life of the token from now on, at most 365 days; nil keeps the time at which it expires.
	TTL *resource.Duration
	// Etag must be the stored one if it is set.
	Etag         string
	ValidateOnly bool
}

// RotateToken makes a new secret for a bearer token, which is in the answer's Token and nowhere else (ST-2, ST-6). The token
// stays what it is: the same name and uid, the same rights. The secret before stays good for the overlap, or until the token
// expires if that is earlier; one of an earlier rotation ends now. Deleting the token ends both. Faults: NotFound; Denied for
// those who may not create it; Invalid; Conflict, ETAG_STALE; Precondition with reason TOKEN_EXPIRED, or NODE_LACKS_CAPABILITY
// if a connected node would refuse the old secret at once.
func (c *Catalog) RotateToken(ctx context.Context, caller Caller, name string, opt RotateOptions) (Written, error) {
	var problems resource.Problems
	if o := opt.Overlap; o != nil && (*o < 0 || *o > resource.Duration(maxOverlap)) {
		problems.Add(resource.ReasonInvalidField, "overlap", "%s is not between 0s and 24h", *o)
	}
	if t := opt.TTL; t != nil && (*t <= 0 || *t > resource.Duration(resource.MaxTTL)) {
		problems.Add(resource.ReasonInvalidField, "ttl", "%s is not more than 0 and at most 365 days", *t)
	}
	if err := problems.Err("rotation"); err != nil {
		return Written{}, err
	}
	var out Object
	var secret string
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if secret, err = d.rotate(ctx, name, opt); err != nil {
			return err
		}
		out, err = d.Full(ctx, KindBearerToken, name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	w, err := c.written(ctx, out, rev, changed, WriteOptions{ValidateOnly: opt.ValidateOnly})
	if !opt.ValidateOnly {
		w.Token = secret
	}
	return w, err
}

// rotate stores a token under the hash of a new secret, which it returns.
func (d *draft) rotate(ctx context.Context, name string, opt RotateOptions) (secret string, err error) {
	t, err := desk.See[*BearerToken](ctx, d.Desk, KindBearerToken, name)
	if err != nil {
		return "", err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return "", err
	}
	if err := who.Creates(t); err != nil {
		return "", err
	}
	if err := desk.Fresh(t, opt.Etag); err != nil {
		return "", err
	}
	now := d.c.cfg.Now().UTC()
	if !t.ExpireTime.After(now) {
		return "", fault.Newf(fault.Precondition, ReasonTokenExpired, "The bearer token %q has expired; make a new one.", t.Name)
	}
	key := Key{Kind: KindBearerToken, Name: t.Name}
	rec, err := d.R.Get(ctx, key)
	if err != nil {
		return "", err
	}
	overlap := maxOverlap
	if opt.Overlap != nil {
		overlap = time.Duration(*opt.Overlap)
	}
	end := slices.MinFunc([]time.Time{now.Add(overlap).Truncate(time.Second), t.ExpireTime}, time.Time.Compare)
	if opt.TTL != nil {
		t.ExpireTime = now.Add(time.Duration(*opt.TTL)).Truncate(time.Second)
	}
	if end.After(t.ExpireTime) {
		end = t.ExpireTime
	}
	// The old hash is kept even where it has no time left: records of equal content are one version, to the store and to nodes.
	if t.PreviousSHA256, err = hex.DecodeString(rec.Lookup); err != nil {
		return "", err
	}
	t.PreviousExpireTime = time.Time{}
	if end.After(now) {
		if d.c.cfg.Nodes != nil && !t.AdminAPI {
			if err := admission.Rotatable(t.Name, d.c.cfg.Nodes.Lacking); err != nil {
				return "", err
			}
		}
		t.PreviousExpireTime = end
	} else {
		d.Tx.Deny(key) // nodes refuse the old secret at once, and nobody has the new one yet
	}
	secret, sha := ident.MintBearer(tokenKind(t.Owner))
	return secret, d.Put(ctx, t, rec.UID, hex.EncodeToString(sha[:]))
}

// rotations finds tokens by the secrets that they had before they were rotated. Records have one second key, that of the
// secret they have now; tokens for the admin API are few, so their old ones are gathered once for each revision at which
// somebody shows a secret that is not known.
type rotations struct {
	mu    sync.Mutex
	head  Head
	names map[string]string // hexadecimal SHA-256 to name
}

// find returns the name of the token that had a secret before its last rotation, in the state at head; empty if there is none.
func (x *rotations) find(ctx context.Context, head Head, d *desk.Desk, sha string) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.names == nil || x.head != head {
		tokens, err := desk.All[*BearerToken](ctx, d, KindBearerToken)
		if err != nil {
			return "", err
		}
		names := make(map[string]string)
		for _, t := range tokens {
			if t.AdminAPI && !t.PreviousExpireTime.IsZero() {
				names[hex.EncodeToString(t.PreviousSHA256)] = t.Name
			}
		}
		x.head, x.names = head, names
	}
	return x.names[sha], nil
}
