// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// The buckets. Those of addresses are keyed by [Address], those of clients by client_id, and ClientFailure by [Pair].
const (
	Register        = "register"         // dynamic client registrations of an address
	Token           = "token"            // token, revocation and introspection requests of an address
	TokenClient     = "token_client"     // ... and of a client
	Authorize       = "authorize"        // authorization requests and consents of an address
	AuthorizeClient = "authorize_client" // authorization requests of a client
	Login           = "login"            // login pages and attempts of an address
	Connect         = "connect"          // connect pages of an address
	SCIM            = "scim"             // SCIM requests of an address
	SCIMFailure     = "scim_failure"     // SCIM requests of an address with a token that is none (ST-11)
	Signals         = "signals"          // security events that an address pushes
	SignalsFailure  = "signals_failure"  // security events of an address that are refused
	ClientFailure   = "client_failure"   // failed authentications of a client from an address (RL-2)

	Assertion        = "assertion"         // identity assertions of an issuer that a client brings (JAG-20)
	AssertionFailure = "assertion_failure" // identity assertions with a wrong signature, of an address
)

// Rate is how fast a bucket fills and how much it holds.
type Rate struct {
	PerMinute int // from 1
	Burst     int // requests at once, from 1
}

// Defaults returns the rates of the buckets. An address may stand for a whole office, and a client_id for everybody who uses
// that program: their rates stop floods, not people. A client's is many times an address's, so that one address cannot use up
// what a client has.
func Defaults() map[string]Rate {
	return map[string]Rate{
		Register:        {PerMinute: 20, Burst: 20},
		Token:           {PerMinute: 1200, Burst: 600},
		TokenClient:     {PerMinute: 24000, Burst: 12000},
		Authorize:       {PerMinute: 300, Burst: 150},
		AuthorizeClient: {PerMinute: 6000, Burst: 3000},
		Login:           {PerMinute: 120, Burst: 60},
		Connect:         {PerMinute: 120, Burst: 60},
		SCIM:            {PerMinute: 3000, Burst: 1500},
		SCIMFailure:     {PerMinute: 10, Burst: 10},
		Signals:         {PerMinute: 3000, Burst: 1500},
		SignalsFailure:  {PerMinute: 30, Burst: 30},
		ClientFailure:   {PerMinute: 10, Burst: 10},

		Assertion:        {PerMinute: 6000, Burst: 3000},
		AssertionFailure: {PerMinute: 10, Burst: 10},
	}
}

// maxKeys bounds the memory of each bucket: about 200 bytes a key.
const maxKeys = 50_000

// longestWait is what is said where nothing is known.
const longestWait = time.Minute

// Config is what a [Limiter] may be told. The zero value is the defaults.
type Config struct {
	Rates   map[string]Rate  // replace those of [Defaults], bucket by bucket
	MaxKeys int              // per bucket, 0 means 50,000; the one not used for longest is forgotten
	Now     func() time.Time // of what is counted in this process; nil means time.Now

	// Shared, if set, counts together with the other authservers. While it cannot be reached, this process counts alone.
	Shared quota.Store
}

// Limiter counts requests. It is safe for concurrent use.
type Limiter struct {
	buckets map[string]bucket // never changed
}

// New returns a limiter. It refuses a rate below one, and one of a bucket that there is not.
func New(c Config) (*Limiter, error) {
	if c.MaxKeys == 0 {
		c.MaxKeys = maxKeys
	}
	if c.MaxKeys < 1 {
		return nil, fmt.Errorf("a limiter cannot remember %d keys", c.MaxKeys)
	}
	rates := Defaults()
	for name := range c.Rates {
		if _, known := rates[name]; !known {
			return nil, fmt.Errorf("there is no bucket %q", name)
		}
	}
	maps.Copy(rates, c.Rates)
	l := &Limiter{buckets: make(map[string]bucket, len(rates))}
	for name, r := range rates {
		if r.PerMinute < 1 || r.Burst < 1 {
			return nil, fmt.Errorf("the rate of bucket %q is below one", name)
		}
		l.buckets[name] = bucket{
			limit: quota.Limit{Amount: r.PerMinute, Period: time.Minute, Burst: r.Burst}, store: together(c.Shared, c.MaxKeys, c.Now),
		}
	}
	return l, nil
}

// together returns a store that counts in shared, if it is set, and in this process while that cannot be reached.
func together(shared quota.Store, keys int, now func() time.Time) quota.Store {
	alone := quota.NewMemory(keys)
	if now != nil {
		alone.Now = now
	}
	if shared == nil {
		return alone
	}
	return quota.Either{First: shared, Second: alone}
}

// Allow takes one request of a key out of a bucket. When there is none left, ok is false and retry is when there will be
// one; asking then costs nothing. A bucket that there is not allows nothing: it is a mistake of the caller.
func (l *Limiter) Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool) {
	g, ok := l.take(ctx, bucket, key, 1)
	return g.Retry, ok && g.Permits == 1
}

// Check is [Limiter.Allow] that takes nothing: whoever counts failures asks it before trying, and Allow after failing.
func (l *Limiter) Check(ctx context.Context, bucket, key string) (retry time.Duration, ok bool) {
	g, ok := l.take(ctx, bucket, key, 0)
	return g.Retry, ok && g.Retry == 0
}

func (l *Limiter) take(ctx context.Context, bucket, key string, n int) (quota.Grant, bool) {
	b, known := l.buckets[bucket]
	if !known {
		return quota.Grant{Retry: longestWait}, false
	}
	g, err := b.store.Take(ctx, inStore(bucket, key), b.limit, n)
	if err != nil { // memory does not fail
		return quota.Grant{Retry: longestWait}, false
	}
	if g.Permits == 1 {
		g.Retry = 0 // of the next one
	}
	return g, true
}

// inStore returns the key of a store: a digest, because a client_id is whatever a stranger makes it, and neither addresses nor
// e-mail addresses belong into a store.
func inStore(bucket, key string) string {
	sum := sha256.Sum256([]byte(key))
	return "auth " + bucket + " " + base64.RawURLEncoding.EncodeToString(sum[:])
}

// bucket is the limit of one name, and where its keys are counted.
type bucket struct {
	limit quota.Limit
	store quota.Store
}

// Address returns the key of an address. An IPv6 address counts with its /64, which is what one subscriber gets; no address
// is one key of its own.
func Address(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Pair returns the key of a client, or a user, together with an address: a limit on it shuts out nobody who comes from
// elsewhere.
func Pair(name string, a netip.Addr) string { return Address(a) + " " + name }
