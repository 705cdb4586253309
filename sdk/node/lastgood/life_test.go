// SPDX-License-Identifier: Apache-2.0

package lastgood_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/node/lastgood"
)

// TestDeadBodiesGo: bodies that no kept state needs do not pile up, and both kept states stay whole meanwhile.
func TestDeadBodiesGo(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, key())
	load(t, s)
	s.SetMinDead(16 << 10)
	// Bodies that do not compress, 4 KB each.
	body := func(i int) string {
		var b strings.Builder
		for sum := sha256.Sum256([]byte{byte(i)}); b.Len() < 4<<10; sum = sha256.Sum256(sum[:]) {
			b.Write(sum[:])
		}
		return b.String()
	}
	for i := range 20 {
		save(t, s, frozen(t, uint64(i+1), "always there", body(i)))
		total := int64(0)
		for _, name := range files(t, dir, "blobs.*") {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > 42<<10 {
			t.Fatalf("after %d saves the bodies take %d KB", i+1, total>>10)
		}
		if i == 0 {
			continue // one state only
		}
		for _, damaged := range []bool{false, true} {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			want := i + 1
			if damaged {
				if err := os.Remove(filepath.Join(copied, fmt.Sprintf("state.%s.%d", epoch, i+1))); err != nil {
					t.Fatal(err)
				}
				want = i
			}
			reader, log := open(t, copied, key())
			if got := holds(load(t, reader)); !strings.HasPrefix(got, fmt.Sprintf("revision %d, 2 resources, 2 bodies", want)) {
				t.Fatalf("after %d saves, newest removed %t: %s (%s)", i+1, damaged, got, log)
			}
		}
	}
	if got := files(t, dir, "blobs.*"); len(got) > 2 {
		t.Errorf("packs left: %v", got)
	}
}

// TestCannotWrite: an error says so, and nothing that was good is lost.
func TestCannotWrite(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, key())
	save(t, s, frozen(t, 1, "body a"))
	aside := dir + "-aside"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(frozen(t, 2, "body a", "body b")); err == nil {
		t.Error("a save into nowhere succeeded")
	}
	if err := s.SaveRecent(lastgood.Recent{Epoch: epoch}); err == nil {
		t.Error("recent was written nowhere")
	}
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir, key())
	if got := holds(load(t, again)); got != "revision 1, 1 resources, 1 bodies of 6 bytes" {
		t.Errorf("loaded %s", got)
	}
	save(t, s, frozen(t, 3, "body a", "body b", "body c"))
	if got := holds(load(t, again)); got != "revision 3, 3 resources, 3 bodies of 18 bytes" {
		t.Errorf("after the folder is back: %s", got)
	}
	if _, err := lastgood.Open(filepath.Join(dir, "recent-is-a-file"), key(), newBodies(t), slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a folder inside: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lastgood.Open(filepath.Join(dir, "plain", "x"), key(), newBodies(t), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder below a file was made")
	}
}

// FuzzLoad: no bytes on disk make loading fail, panic or believe them.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("{}"), uint8(0))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 50}, 40), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, which uint8) {
		dir := t.TempDir()
		name := []string{"state." + epoch + ".2", "blobs.1", "recent"}[which%3]
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, dir, key())
		if l := load(t, s); l.State != nil || len(l.Pool) > 0 {
			t.Fatalf("loaded %s", holds(l))
		}
	})
}
