// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/node"
)

const (
	// stateKeySize is the length of the key that seals the last known good directory.
	stateKeySize = 32
	// awaitTimeout bounds how long a login waits for the change that it made; a change takes a fraction of a second.
	awaitTimeout = 5 * time.Second
)

// link is the control plane: the node stream, and what is asked over the same connection. It exists before the stream does.
type link struct {
	c        Config
	identity *identity
	follower *directory.Follower
	bans     *directory.Bans
	client   atomic.Pointer[node.Client] // nil until run has made it
}

// run follows the control plane until ctx is canceled.
func (l *link) run(ctx context.Context) error {
	dial, err := l.dialOptions(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // canceled, which is how a task ends; whatever was begun says so too
	}
	if err != nil {
		return err
	}
	key, err := stateKey(l.c.Data.Dir)
	if err != nil {
		return err
	}
	client, err := node.New(node.Config{
		Endpoints: l.c.ControlPlane.Endpoints, DialOptions: dial, Dir: filepath.Join(l.c.Data.Dir, "state"), SealKey: key,
		Applier: l.follower, Revocations: l.bans.Take, Build: l.c.Version, Capabilities: features(),
		Log: l.c.Telemetry.Log, Meter: l.c.Telemetry.Meter,
	})
	if err != nil {
		return err
	}
	l.client.Store(client)
	return client.Run(ctx)
}

// dialOptions returns how the control plane is dialed: in memory, or mutual TLS.
func (l *link) dialOptions(ctx context.Context) ([]grpc.DialOption, error) {
	if l.c.DialControlPlane != nil {
		return l.c.DialControlPlane(ctx)
	}
	config, err := tlsx.Client(l.identity.source, l.c.TLS.TrustDomain, ident.RoleControlPlane)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS to the control plane: %w", err)
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}, nil
}

// stateKey returns the key in a file of the data folder, which is made if it is missing.
func stateKey(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data.dir: %w", err)
	}
	path := filepath.Join(dir, "state.key")
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = make([]byte, stateKeySize)
		_, _ = rand.Read(key) // it never fails: crypto/rand ends the process instead
		if err := os.WriteFile(path, key, 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case len(key) != stateKeySize:
		return nil, fmt.Errorf("read %s: it is no key of this server; delete it together with the folder state beside it", path)
	}
	return key, nil
}

// release returns what decides who may have a credential.
func (l *link) release(audit store.OAuth) *release {
	return &release{
		follower: l.follower, bans: l.bans, fresh: l.fresh, audit: audit, log: l.c.Telemetry.Log, recorded: make(map[denial]time.Time),
	}
}

// check is for readiness: without a directory nobody can log in.
func (l *link) check() (string, error) {
	if l.follower.View() == nil {
		return "", errors.New("no directory of users and gateways yet: no control plane was reached")
	}
	if client := l.client.Load(); client == nil || !client.Status().Connected {
		return "the control plane cannot be reached; the last known good directory is used", nil
	}
	return "", nil
}

// fresh reports whether the directory is the one of a control plane that is heard now.
func (l *link) fresh() bool {
	client := l.client.Load()
	return client != nil && client.Status().Connected
}

// await returns when the directory has a revision, or an error after a time: a login does not wait longer than people do.
func (l *link) await(ctx context.Context, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	return l.follower.Await(ctx, revision)
}

// followed returns what follows the control plane.
func (l *link) followed() (*node.Client, error) {
	if client := l.client.Load(); client != nil {
		return client, nil
	}
	return nil, fault.New(fault.Unavailable, directory.ReasonUnreachable, "No control plane is followed yet.")
}

// LoginUser implements login.Directory.
func (l *link) LoginUser(ctx context.Context, a directory.Account) (uid string, revision uint64, err error) {
	client, err := l.followed()
	if err != nil {
		return "", 0, err
	}
	return directory.NewRemote(client.DirectoryService()).LoginUser(ctx, a)
}

// ConnectServer implements connect.Installer.
func (l *link) ConnectServer(ctx context.Context, i directory.Installation) (connection string, err error) {
	client, err := l.followed()
	if err != nil {
		return "", err
	}
	return directory.NewRemote(client.DirectoryService()).ConnectServer(ctx, i)
}

// Publish implements outbox.Publisher.
func (l *link) Publish(ctx context.Context, list []store.Revocation) error {
	client, err := l.followed()
	if err != nil {
		return err
	}
	entries := make([]*distributionv1.Revocation, 0, len(list))
	for _, r := range list {
		entry := &distributionv1.Revocation{
			Kind: distributionv1.RevocationKind(r.Kind), KeySha256: r.Key[:], ExpireTime: timestamppb.New(r.ExpireTime),
		}
		if !r.IssuedBefore.IsZero() {
			entry.IssuedBefore = timestamppb.New(r.IssuedBefore)
		}
		entries = append(entries, entry)
	}
	if err := client.PublishRevocations(ctx, entries); err != nil {
		return fmt.Errorf("publish revocations: %w", err)
	}
	return nil
}
