// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/plant"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/lastgood"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// onDisk returns what a node keeps on its disk, which is sealed with a key beside it.
func (s *scenario) onDisk(n *plant.Process) (*replica.State, error) {
	text, err := os.ReadFile(filepath.Join(n.Instance.Data, "state.key"))
	if err != nil {
		return nil, err
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimSpace(string(text))), "="))
	if err != nil {
		return nil, err
	}
	copied := s.t.TempDir() // the node writes its own at any time
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(n.Instance.Data, "state"))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	store, err := bodies.New()
	if err != nil {
		return nil, err
	}
	found, err := lastgood.Open(copied, key, store, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	loaded, err := found.Load()
	if err != nil {
		return nil, err
	}
	if loaded.State == nil {
		return nil, fmt.Errorf("%s has no usable state on disk", n.Name)
	}
	return loaded.State, nil
}

// digests wants all nodes of a region to have the same state on disk, by its digest (D-36), as soon as they have written it.
func (s *scenario) digests(revision uint64) {
	s.t.Helper()
	for _, z := range s.plant.Zones {
		s.eventually("the digests of the nodes in "+z.Name+" are equal", func() error {
			all := map[string][]string{}
			for _, n := range z.Nodes {
				state, err := s.onDisk(n)
				if err != nil {
					return err
				}
				if state.Revision() < revision {
					return fmt.Errorf("%s has revision %d on disk, not %d", n.Name, state.Revision(), revision)
				}
				sum := hex.EncodeToString(state.Digest().Bytes()[:8])
				all[sum] = append(all[sum], n.Name)
			}
			if len(all) != 1 {
				return fmt.Errorf("%q", all)
			}
			return nil
		})
	}
}

// holds reports whether a state has the secret word in a gateway.
func holds(state *replica.State) (found bool) {
	state.Range("gateway", func(r *distributionv1.Resource) bool {
		found = strings.Contains(prototext.Format(r), secretWord)
		return !found
	})
	return found
}
