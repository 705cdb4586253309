// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// RunOAuth checks an implementation of [store.OAuth]. open returns an empty store that is closed by the test's clean-up.
func RunOAuth(t *testing.T, open func(*testing.T) store.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"clients are read back and deleted", clients},
		{"no stored client has an odd id", oddClients},
		{"equal registrations are one client", sharedClients},
		{"equal registrations at the same moment are one client", concurrentClients},
		{"the use of a client moves its end", touchClients},
		{"the oldest unused clients are dropped", dropUnusedClients},
		{"tickets are taken once", tickets},
		{"of several takers of a ticket one gets it", concurrentTickets},
		{"logins are read back, touched and deleted", logins},
		{"a session takes its logins and codes along", sessions},
		{"the end of a user never goes back", endedUsers},
		{"consents are replaced, listed and deleted", consents},
		{"passwords are replaced and deleted", passwords},
		{"a code makes its grant once", codes},
		{"of 50 redemptions of a code one succeeds", concurrentCodes},
		{"grants are listed until they are over", grants},
		{"of several revocations of a grant one counts", concurrentRevocations},
		{"refresh tokens are replaced by one successor", refresh},
		{"a revoked family has no next token", refreshRevoked},
		{"ten refreshes at once have one successor", concurrentRefreshes},
		{"signing keys change from one state to another", signingKeys},
		{"several processes make one first key", concurrentKeys},
		{"a jti is used once", jtis},
		{"of 20 uses of a jti one is new", concurrentJTIs},
		{"whether a jti was used can be asked", askJTIs},
		{"users with a password are listed", passwordUsers},
		{"codes that nobody redeemed are deleted", deleteCodes},
		{"a code that is deleted while it is redeemed is gone or has a grant", concurrentDeleteCodes},
		{"connect links are used once and bounded", connectLinks},
		{"of 20 connect links at once five are made", concurrentLinks},
		{"the outbox is in order", outbox},
		{"audit events are chained", audit},
		{"concurrent events have no gaps", concurrentAudit},
		{"what failed leaves no trace", rollback},
		{"a panic leaves no trace", panics},
		{"updates do not nest", nested},
		{"reads through the store take part in the update", takePart},
		{"what an update has read stays so", stable},
		{"updates that wait for each other both succeed", deadlock},
		{"a canceled update is reported as such", canceledUpdate},
		{"collect removes what is over", collectOAuth},
		{"collect goes in batches", collectBatches},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// at is a number of minutes after the epoch of the suite.
func at(minutes int) time.Time { return epoch().Add(time.Duration(minutes) * time.Minute) }

func hash(of string) store.Hash { return sha256.Sum256([]byte(of)) }

// update runs fn in a transaction that must be committed. Anything of fn that fails is an error of the test.
func update(t *testing.T, s store.OAuth, fn func(ctx context.Context, tx store.OAuthTx) error) {
	t.Helper()
	must(t, s.Update(t.Context(), fn))
}

// told runs a method that tells whether it did something, in a transaction of its own.
func told(t *testing.T, s store.OAuth, want bool, fn func(ctx context.Context, tx store.OAuthTx) (bool, error)) {
	t.Helper()
	var did bool
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		did, err = fn(ctx, tx)
		return err
	})
	if did != want {
		t.Errorf("it tells %v, want %v", did, want)
	}
}

// parallel runs fn in n transactions at once and returns of how many it was true.
func parallel(t *testing.T, s store.OAuth, n int, fn func(ctx context.Context, tx store.OAuthTx, i int) (bool, error)) int {
	t.Helper()
	var (
		wg    sync.WaitGroup
		ready sync.WaitGroup
		start = make(chan struct{})
		did   = make([]bool, n)
		errs  = make([]error, n)
	)
	for i := range n {
		ready.Add(1)
		wg.Go(func() {
			_, errs[i] = s.UnusedClients(t.Context()) // so that the connections are there and the start is one
			ready.Done()
			<-start
			if errs[i] != nil {
				return
			}
			errs[i] = s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) (err error) {
				did[i], err = fn(ctx, tx, i)
				return err
			})
		})
	}
	ready.Wait()
	close(start)
	wg.Wait()
	yes := 0
	for i := range n {
		must(t, errs[i])
		if did[i] {
			yes++
		}
	}
	return yes
}

// got fails the test unless err is nil, and returns the value.
func got[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func wantMissing(t *testing.T, err error) {
	t.Helper()
	wantFault(t, err, fault.NotFound, store.ReasonRowMissing)
}

// wantExists puts something a second time.
func wantExists(t *testing.T, s store.OAuth, fn func(ctx context.Context, tx store.OAuthTx) error) {
	t.Helper()
	wantFault(t, s.Update(t.Context(), fn), fault.AlreadyExists, store.ReasonRowExists)
}

func client(id string) store.Client {
	return store.Client{
		ID: id, Metadata: []byte(`{"client_name":"Ada"}`), CreateTime: at(0), ExpireTime: at(1000),
	}
}

func grant(id string) store.Grant {
	return store.Grant{
		ID: id, User: "u1", Client: "c1", RedirectHost: "https://client.example", Gateway: "g1", Resource: "https://mcp.example/g1",
		Scopes: []string{"mcp", "mcp:write"}, AMR: []string{"pwd", "otp"}, Provider: "corp", AuthTime: at(-5),
		CreateTime: at(0), ExpireTime: at(10000),
	}
}

func code(name string) store.Code {
	return store.Code{
		Hash: hash(name), RedirectURI: "http://127.0.0.1:4711/callback?a=b", Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
		Grant: grant("grant of " + name), ExpireTime: at(1),
	}
}

func token(name, grantID string, minute int) store.RefreshToken {
	return store.RefreshToken{Hash: hash(name), Grant: grantID, CreateTime: at(minute), ExpireTime: at(minute + 500)}
}
