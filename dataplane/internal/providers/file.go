// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/keyset"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// maxFile bounds what is read of the file, in bytes.
const maxFile = 16 << 20

// file is the last good keys of all sources on disk. A nil file keeps nothing.
type file struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	mu   sync.Mutex             // guards kept, and the file
	kept map[string]keyset.Kept // by source
}

func nameOf(s keyset.Source) string { return s.Issuer + "\n" + s.URL }

// openFile reads the file of a configuration, nil if it has none.
func openFile(c Config) *file {
	if c.File == "" {
		return nil
	}
	f := &file{path: c.File, now: c.Now, log: c.Log, kept: make(map[string]keyset.Kept)}
	if err := f.read(); err != nil {
		c.Log.Warn("last good keys of identity providers not read", obs.AttrPath, c.File, obs.AttrError, err.Error())
		clear(f.kept)
	}
	return f
}

func (f *file) read() error {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at the file: %w", err)
	case info.Size() > maxFile:
		return errors.New("the file is longer than it ever was")
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	if err := json.Unmarshal(text, &f.kept); err != nil || f.kept == nil {
		f.kept = make(map[string]keyset.Kept)
		return errors.New("the file is no list of key sets")
	}
	return nil
}

// last returns the keys of a source, nil if there are none.
func (f *file) last(s keyset.Source) *keyset.Kept {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.kept[nameOf(s)]; ok {
		return &k
	}
	return nil
}

// keep writes the keys of a source, and drops those of sources that were not renewed for so long that they do not count.
func (f *file) keep(ctx context.Context, s keyset.Source, k keyset.Kept) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept[nameOf(s)] = k
	now := f.now()
	maps.DeleteFunc(f.kept, func(_ string, k keyset.Kept) bool { return k.Stale(now) })
	if err := f.write(); err != nil {
		f.log.ErrorContext(ctx, "last good keys of identity providers not written", obs.AttrPath, f.path, obs.AttrError, err.Error())
	}
}

// write replaces the file: a reader finds the old one or the new one, never a part. The caller holds mu.
func (f *file) write() (err error) {
	text, err := json.Marshal(f.kept)
	if err != nil {
		return fmt.Errorf("encode the keys: %w", err)
	}
	t, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return fmt.Errorf("make a temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
		}
	}()
	if _, err := t.Write(text); err != nil {
		return errors.Join(err, t.Close())
	}
	if err := errors.Join(t.Sync(), t.Close()); err != nil {
		return fmt.Errorf("finish the temporary file: %w", err)
	}
	return os.Rename(t.Name(), f.path)
}
