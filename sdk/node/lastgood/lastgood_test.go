// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/lastgood"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

const epoch = "7d444840-9dc0-11d1-b245-5ffdce74fad2"

// key seals the files of these tests.
func key() []byte { return bytes.Repeat([]byte{7}, lastgood.KeySize) }

// frozen makes a state of tools, each with a body of its own, that names have in common with other states.
func frozen(t *testing.T, revision uint64, bodies ...string) *replica.Frozen {
	t.Helper()
	b, err := replica.NewBuilder(newBodies(t), nil, epoch, revision)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range bodies {
		hash, version := sha256.Sum256([]byte(body)), sha256.Sum256([]byte("v"+body))
		wire, err := proto.Marshal(&distributionv1.Resource{
			Kind: "tool", Name: fmt.Sprintf("s/%d", i), Version: version[:], Blobs: [][]byte{hash[:]},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := replica.ParseResource(wire)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	b.Missing(nil)
	for _, body := range bodies {
		if _, err := b.PutBlob([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s.Freeze()
}

func newBodies(t *testing.T) *bodies.Store {
	t.Helper()
	s, err := bodies.New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens a folder; the buffer gets the warnings.
func open(t *testing.T, dir string, key []byte) (*lastgood.Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := lastgood.Open(dir, key, newBodies(t), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func load(t *testing.T, s *lastgood.Store) *lastgood.Loaded {
	t.Helper()
	l, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func save(t *testing.T, s *lastgood.Store, f *replica.Frozen) {
	t.Helper()
	if err := s.Save(f); err != nil {
		t.Fatal(err)
	}
}

// holds says what a loaded folder holds: the revision and all bodies.
func holds(l *lastgood.Loaded) string {
	if l.State == nil {
		return fmt.Sprintf("nothing, %d bodies", len(l.Pool))
	}
	f := l.State.Freeze()
	size := 0
	for _, b := range f.Blobs {
		size += b.Len()
	}
	return fmt.Sprintf("revision %d, %d resources, %d bodies of %d bytes", f.Revision, len(f.Wires), len(f.Blobs), size)
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	return list
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "open")
	s, _ := open(t, dir, key())
	if l := load(t, s); l.State != nil || len(l.Pool) != 0 {
		t.Fatalf("an empty folder holds %s", holds(l))
	}
	want := frozen(t, 3, "secret body a", "secret body b", strings.Repeat("large ", 1<<20))
	save(t, s, frozen(t, 1, "secret body a"))
	save(t, s, frozen(t, 2, "secret body a", "secret body b"))
	save(t, s, want)
	heard := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	recent := lastgood.Recent{
		Epoch: epoch, Heard: heard, DenyRevision: 5,
		Denials: []lastgood.Denial{{Revision: 3, Keys: []replica.Key{{Kind: "user", Name: "old@example.com"}}}, {Revision: 5, Keys: []replica.Key{{Kind: "user", Name: "ada@example.com"}}}},
	}
	if err := s.SaveRecent(recent); err != nil {
		t.Fatal(err)
	}

	again, log := open(t, dir, key())
	l := load(t, again)
	if got := holds(l); got != "revision 3, 3 resources, 3 bodies of 6291482 bytes" || l.State.Epoch() != epoch {
		t.Fatalf("loaded %s", got)
	}
	if !l.State.Digest().Equal(want.Digest) {
		t.Error("the digest differs")
	}
	for h, body := range want.Blobs {
		if !bytes.Equal(l.State.Blob(h).Bytes(), body.Bytes()) {
			t.Errorf("body %x differs", h)
		}
	}
	recent.Denials = recent.Denials[1:] // the state contains the other one
	if diff := cmp.Diff(recent, l.Recent); diff != "" {
		t.Errorf("recent (-want +got):\n%s", diff)
	}
	if log.Len() > 0 {
		t.Errorf("warnings: %s", log)
	}
	if got := files(t, dir, "state.*"); len(got) != 2 {
		t.Errorf("kept %v, want the last two", got)
	}
	checkFiles(t, dir)
}

// checkFiles: readable by the owner alone, and nothing in clear.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	for _, name := range files(t, dir, "*") {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte("secret")) || bytes.Contains(content, []byte("example.com")) {
			t.Errorf("%s is in clear", name)
		}
	}
}

// newestFile makes a file the newest one, also where the clock of the file system has not moved on.
func newestFile(do func(path string) error) func(path string) error {
	return func(path string) error {
		later := time.Now().Add(time.Minute)
		return errors.Join(do(path), os.Chtimes(path, later, later))
	}
}

// TestDamage: whatever happened to the files, loading gives what is good and says what is not (D-60).
func TestDamage(t *testing.T) {
	cut := func(n int64) func(string) error {
		return func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, max(0, info.Size()-n))
		}
	}
	flip := func(at int64) func(string) error {
		return func(path string) (err error) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if at < 0 {
				at += info.Size()
			}
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			b[0] ^= 0x40
			_, err = f.WriteAt(b, at)
			return err
		}
	}
	fill := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	newest, older := "state."+epoch+".2", "state."+epoch+".1"
	const good, fallback = "revision 2, 2 resources, 2 bodies of 12 bytes", "revision 1, 1 resources, 1 bodies of 6 bytes"
	tests := []struct {
		name string
		file string
		do   func(path string) error
		want string
		warn string
	}{
		{"newest state cut at its end", newest, cut(1), fallback, newest},
		{"newest state cut in its first chunk", newest, cut(150), fallback, newest},
		{"newest state empty", newest, fill(""), fallback, newest},
		{"newest state: a bit of the length", newest, flip(0), fallback, newest},
		{"newest state: a bit of the nonce", newest, flip(10), fallback, newest},
		{"newest state: a bit of the content", newest, flip(60), fallback, newest},
		{"newest state: a bit of the seal", newest, flip(-1), fallback, newest},
		{"newest state: something else", newest, fill("{}"), fallback, newest},
		{"newest state: the chunk length of a giant", newest, fill("\xff\xff\xff\xff" + strings.Repeat("x", 100)), fallback, newest},
		{"newest state: something appended", newest, func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}, good, ""},
		{"the older one passed off as the newest", newest, func(path string) error {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(path), older))
			if err != nil {
				return err
			}
			return os.WriteFile(path, content, 0o600)
		}, fallback, newest},
		{"a name that is no state", "state.../evil.9", func(string) error { return nil }, good, ""},
		{"a revision that is no number", "state." + epoch + ".99999999999999999999", fill("x"), good, ""},
		{"a state of another node", "state.other.9", newestFile(fill("x")), good, "state.other.9"},
		{"half a write", ".writing-state.1", fill("x"), good, ""},
		{"bodies: the last cut off", "blobs.1", cut(1), fallback, "blobs.1"},
		{"bodies: the first cut off", "blobs.1", func(path string) error { return os.Truncate(path, 20) }, "nothing, 0 bodies", "blobs.1"},
		{"bodies: something else", "blobs.1", fill("xxxxxxxxx"), "nothing, 0 bodies", "blobs.1"},
		{"bodies: gone", "blobs.1", os.Remove, "nothing, 0 bodies", "missing"},
		{"recent cut off", "recent", cut(1), good, "recent"},
		{"recent of something else", "recent", fill("{}"), good, "recent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, dir, key())
			load(t, s)
			save(t, s, frozen(t, 1, "body a"))
			save(t, s, frozen(t, 2, "body a", "body b"))
			if err := s.SaveRecent(lastgood.Recent{Epoch: epoch, DenyRevision: 2}); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(filepath.Join(dir, filepath.Base(tt.file))); err != nil {
				t.Fatal(err)
			}
			again, log := open(t, dir, key())
			l := load(t, again)
			if got := holds(l); got != tt.want {
				t.Errorf("loaded %s, want %s", got, tt.want)
			}
			if (tt.warn == "") != (log.Len() == 0) || !strings.Contains(log.String(), tt.warn) {
				t.Errorf("warnings %q, want one of %q", log, tt.warn)
			}
			if left := files(t, dir, ".writing-*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			// Life goes on: the next state is written and read back without a warning about its own files.
			save(t, again, frozen(t, 3, "body a", "body b", "body c"))
			save(t, again, frozen(t, 4, "body a", "body b", "body c"))
			last, log := open(t, dir, key())
			if got := holds(load(t, last)); got != "revision 4, 3 resources, 3 bodies of 18 bytes" {
				t.Errorf("after the next save: %s (%s)", got, log)
			}
			if strings.Contains(log.String(), "bodies") && strings.Contains(log.String(), "damaged") {
				t.Errorf("the damage did not heal: %s", log)
			}
		})
	}
}

// TestAnotherKey: files sealed with another key are nothing, and are no error.
func TestAnotherKey(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, key())
	save(t, s, frozen(t, 1, "body a"))
	other, log := open(t, dir, bytes.Repeat([]byte{8}, lastgood.KeySize))
	if got := holds(load(t, other)); got != "nothing, 0 bodies" || log.Len() == 0 {
		t.Fatalf("loaded %s with warnings %q", got, log)
	}
	if _, err := lastgood.Open(dir, []byte("short"), newBodies(t), slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("a key of 5 bytes was taken")
	}
}

// TestAnotherEpoch: the newest write wins, whatever its revision; denials of another epoch say nothing.
func TestAnotherEpoch(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, key())
	save(t, s, frozen(t, 90, "body a"))
	if err := s.SaveRecent(lastgood.Recent{Epoch: epoch, DenyRevision: 99, Denials: []lastgood.Denial{{Revision: 99}}}); err != nil {
		t.Fatal(err)
	}
	next := frozen(t, 2, "body a", "body b")
	next.Epoch = "c2a9f3f0-0000-4000-8000-000000000000"
	save(t, s, next)
	// The clock of a file system is coarse: make the order certain.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "state."+epoch+".90"), old, old); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir, key())
	l := load(t, again)
	if got := holds(l); got != "revision 2, 2 resources, 2 bodies of 12 bytes" || l.State.Epoch() != next.Epoch {
		t.Fatalf("loaded %s of %s", got, l.State.Epoch())
	}
	if l.Recent.DenyRevision != 0 || len(l.Recent.Denials) != 0 {
		t.Errorf("recent of another epoch: %+v", l.Recent)
	}
	next.Epoch = "../../etc"
	if err := s.Save(next); err == nil {
		t.Error("an epoch that leaves the folder was taken")
	}
}
