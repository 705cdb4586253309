// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// SecretFile is a secret in a file, which is read again when the file changes: the secret can be rotated under a running control plane. While
// the file cannot be read, or holds no secret, the last good one stays, and the log says so once. It is safe for concurrent use.
type SecretFile struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex  // guards what follows
	seen   fs.FileInfo // of the file as it was last read, for good or ill; nil if there was none
	secret Secret
}

// OpenSecretFile reads the file. The fault is Invalid, WEBHOOK_SECRET_INVALID, if it holds no secret.
func OpenSecretFile(path string, log *slog.Logger) (*SecretFile, error) {
	f := &SecretFile{path: path, log: log}
	var err error
	if f.seen, err = os.Stat(path); err != nil { // before it is read: what changes meanwhile is seen at the next use
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	f.secret, err = readSecret(path)
	return f, err
}

// Secret returns the secret to use now.
func (f *SecretFile) Secret(ctx context.Context) Secret {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path) // follows the links that secret mounts are made of
	if unchanged(info, f.seen) {
		return f.secret
	}
	f.seen = info
	var secret Secret
	if err == nil {
		secret, err = readSecret(f.path)
	}
	if err != nil {
		f.log.ErrorContext(ctx, "the secret of the approval webhook cannot be read again; the last good one stays in use",
			slog.String(obs.AttrPath, f.path), obs.Fault(err))
		return f.secret
	}
	f.secret = secret
	f.log.InfoContext(ctx, "the secret of the approval webhook was read again", slog.String(obs.AttrPath, f.path))
	return secret
}

func readSecret(path string) (Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read the secret: %w", err)
	}
	return ParseSecret(string(text))
}

// unchanged compares two states of a file; nil is that there is none.
func unchanged(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
