// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/remote"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// Bounds of fetched key sets.
const (
	maxKeySet  = 64 << 10
	maxKeySets = 1024
	// refetch is how old a key set is at least that is fetched again for a key it does not have.
	refetch = time.Minute
)

// keySets finds the keys of clients. The sets that an administrator's URL names are kept apart: what they may reach, the
// document of a stranger may not (CIMD-5).
type keySets struct {
	policy           egress.Policy
	now              func() time.Time
	strange, trusted *remote.Cache[[]jose.JSONWebKey]
}

func newKeySets(c Config, fetched func(context.Context, string, error)) (*keySets, error) {
	cache := func() (*remote.Cache[[]jose.JSONWebKey], error) {
		return remote.New(remote.Config[[]jose.JSONWebKey]{
			Parse:    func(_ string, body []byte) ([]jose.JSONWebKey, error) { return metadata.ParseKeys(body) },
			MaxBytes: maxKeySet, MaxEntries: maxKeySets, RootCAs: c.RootCAs, Now: c.Now, Fetched: fetched,
		})
	}
	strange, err := cache()
	if err != nil {
		return nil, fmt.Errorf("make the cache of key sets: %w", err)
	}
	trusted, err := cache()
	if err != nil {
		return nil, fmt.Errorf("make the cache of key sets: %w", err)
	}
	return &keySets{policy: c.Egress, now: c.Now, strange: strange, trusted: trusted}, nil
}

// of returns the keys of a client. again is set if those that are kept do not do.
func (k *keySets) of(ctx context.Context, c *Client, again bool) ([]jose.JSONWebKey, error) {
	if c.JWKSURI == "" {
		return metadata.ParseKeys(c.JWKS)
	}
	r := remote.Request{Policy: k.policy, Stale: true}
	if again {
		r.Younger = k.now().Add(-refetch)
	}
	cache, err := k.strange, error(nil)
	if c.Origin == Registered {
		cache = k.trusted
		r.URL, r.Policy, err = k.permit(c.JWKSURI)
	} else if r.URL, err = k.policy.CheckURL(c.JWKSURI); err == nil && r.URL.Scheme != "https" {
		err = errors.New("jwks_uri is no https URL")
	}
	if err != nil {
		return nil, fmt.Errorf("check jwks_uri: %w", err)
	}
	keys, err := cache.Get(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("fetch the key set: %w", err)
	}
	return keys, nil
}

// permit opens the host of a URL that an administrator registered. Keys come over https; http is for this machine.
func (k *keySets) permit(raw string) (*url.URL, egress.Policy, error) {
	u, err := egress.ParseURL(raw)
	if err != nil {
		return nil, egress.Policy{}, err
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return nil, egress.Policy{}, errors.New("jwks_uri is no https URL")
	}
	p, err := k.policy.Permit(u)
	if err != nil {
		return nil, egress.Policy{}, err
	}
	return u, p, nil
}
