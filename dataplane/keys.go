// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// keyset is what this node seals with: session ids and cursors, with the fleet's keys, and its own copy of the
// configuration on disk, with a key of its own.
type keyset struct {
	seal  *seal.Keyset
	state []byte
}

func (n *Node) keys() (keyset, error) {
	if err := os.MkdirAll(n.c.Data.Dir, 0o700); err != nil {
		return keyset{}, fmt.Errorf("make data.dir: %w", err)
	}
	state, err := n.fileKey("state.key")
	if err != nil {
		return keyset{}, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(state), "="))
	if err != nil || len(raw) != seal.KeySize {
		return keyset{}, fmt.Errorf("read %s: it is no key of this node; delete it together with the folder state beside it", filepath.Join(n.c.Data.Dir, "state.key"))
	}
	setting := n.c.SealKeyset.Reveal()
	if setting == "" {
		if setting, err = n.fileKey("seal.keyset"); err != nil {
			return keyset{}, err
		}
	}
	parsed, err := seal.Parse(setting)
	if err != nil {
		return keyset{}, err
	}
	return keyset{seal: parsed, state: raw}, nil
}

// fileKey returns the key in a file of the data folder, which is made with a new key if it is missing.
func (n *Node) fileKey(name string) (string, error) {
	path := filepath.Join(n.c.Data.Dir, name)
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	key := seal.Generate()
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	n.c.Telemetry.Log.InfoContext(context.Background(), "key made", obs.AttrPath, path)
	return key, nil
}
