// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

const (
	temporary  = ".writing-" // prefix of files that are not complete
	recentFile = "recent"
	goneFile   = "revocations"
	kept       = 2 // states
)

// Denial is what one change takes away.
type Denial struct {
	Revision uint64
	Keys     []replica.Key
}

// Recent is what is newer than the written states.
type Recent struct {
	Epoch        string    `json:"epoch"`
	Heard        time.Time `json:"heard"`         // when a control plane was last heard
	DenyRevision uint64    `json:"deny_revision"` // latest denial the node had
	Denials      []Denial  `json:"denials"`       // those that no written state contains
}

// Loaded is what a folder holds.
type Loaded struct {
	// State is the newest usable state; nil if there is none.
	State *replica.State
	// Recent is what is newer than the state and belongs to its epoch.
	Recent Recent
	// Revocations is what [Store.SaveRevocations] was given last; nil if nothing usable is there. It belongs to no state.
	Revocations []byte
	// Pool holds the bodies found when there is no usable state, so that they need not be fetched again.
	Pool map[replica.Hash]*bodies.Body
}

// Store is one folder. It is not safe for concurrent use.
type Store struct {
	dir    string
	sealer *sealer
	log    *slog.Logger
	packs  *packs
	saves  uint64
}

// Open prepares a folder, which it makes (0700) if it is missing. The key has KeySize bytes; what is loaded becomes
// bodies of the given store. Nothing is read.
func Open(dir string, key []byte, store *bodies.Store, log *slog.Logger) (*Store, error) {
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of the last known good state: %w", err)
	}
	p := &packs{dir: dir, sealer: sealer, bodies: store, log: log, index: make(map[replica.Hash]*stored), minDead: minDead}
	// Two, so that nothing on disk counts as needed by the save before the first.
	return &Store{dir: dir, sealer: sealer, log: log, packs: p, saves: kept}, nil
}

// Load reads the newest usable state. Files that are damaged, cut off or sealed with another key are skipped with a
// warning; an error is a folder that cannot be read.
func (s *Store) Load() (*Loaded, error) {
	states, numbers, err := s.scan()
	if err != nil {
		return nil, err
	}
	s.packs.numbers = numbers
	// Two halves of the work, and most machines have two cores: the bodies, and the newest state.
	found := make(chan map[replica.Hash]*bodies.Body, 1)
	go func() { found <- s.packs.load() }()
	var newest *replica.Builder
	var newestErr error
	if len(states) > 0 {
		newest, newestErr = s.readState(states[0])
	}
	pool := <-found
	loaded := &Loaded{Pool: pool, Revocations: s.loadRevocations()}
	for i, f := range states {
		b, err := newest, newestErr
		if i > 0 {
			b, err = s.readState(f)
		}
		var state *replica.State
		if err == nil {
			state, err = complete(b, pool)
		}
		if err == nil {
			loaded.State, loaded.Recent, loaded.Pool = state, s.loadRecent(state), nil
			return loaded, nil
		}
		s.log.Warn("damaged state file is skipped", "file", f.name, "error", err)
	}
	return loaded, nil
}

// complete gives a state its bodies.
func complete(b *replica.Builder, pool map[replica.Hash]*bodies.Body) (*replica.State, error) {
	if missing := b.Missing(pool); len(missing) > 0 {
		return nil, fmt.Errorf("%w: %d bodies are missing", errDamaged, len(missing))
	}
	return b.Build()
}

// scan lists the states, newest first, and the numbers of the packs, oldest first, and removes what a crash left half
// written.
func (s *Store) scan() (states []stateFile, numbers []int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("read folder of the last known good state: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				s.log.Warn("half written file cannot be removed", "file", e.Name(), "error", err)
			}
			continue
		}
		if m := packName.FindStringSubmatch(e.Name()); m != nil {
			if number, err := strconv.Atoi(m[1]); err == nil {
				numbers = append(numbers, number)
			}
			continue
		}
		if f, ok := parseStateName(e.Name()); ok {
			info, err := e.Info()
			if err != nil {
				continue // removed meanwhile
			}
			f.written = info.ModTime()
			states = append(states, f)
		}
	}
	slices.Sort(numbers)
	sortStates(states)
	return states, numbers, nil
}

// sortStates puts the newest first: the lineage that was written last, and within it the highest revision, because a
// folder that was copied has its files' times in any order.
func sortStates(states []stateFile) {
	newest := make(map[string]time.Time)
	for _, f := range states {
		if f.written.After(newest[f.epoch]) {
			newest[f.epoch] = f.written
		}
	}
	slices.SortFunc(states, func(a, b stateFile) int {
		return cmp.Or(newest[b.epoch].Compare(newest[a.epoch]), cmp.Compare(a.epoch, b.epoch), cmp.Compare(b.revision, a.revision))
	})
}

// Save writes a state and the bodies it needs, then removes all but the newest two states.
func (s *Store) Save(f *replica.Frozen) error {
	s.saves++
	obsolete := s.packs.obsolete
	if err := s.packs.save(f.Blobs, s.saves); err != nil {
		return err
	}
	name, err := s.writeState(f)
	if err != nil {
		return err
	}
	states, _, err := s.scan()
	if err != nil {
		return err
	}
	var errs []error
	older := slices.DeleteFunc(states, func(f stateFile) bool { return f.name == name })
	for _, old := range older[min(kept-1, len(older)):] {
		errs = append(errs, os.Remove(filepath.Join(s.dir, old.name)))
	}
	if len(obsolete) > 0 {
		errs = append(errs, s.packs.drop(obsolete))
	}
	return errors.Join(errs...)
}

// SaveRecent replaces what is newer than the written states.
func (s *Store) SaveRecent(r Recent) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write %s: %w", recentFile, err)
	}
	return s.writeSealed(recentFile, body)
}

// SaveRevocations replaces the revocations, encoded by the caller.
func (s *Store) SaveRevocations(encoded []byte) error { return s.writeSealed(goneFile, encoded) }

// loadRevocations returns what SaveRevocations wrote, nil if there is nothing usable.
func (s *Store) loadRevocations() []byte {
	body, err := s.readSealed(goneFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("damaged file of revocations is skipped", "file", goneFile, "error", err)
		}
		return nil
	}
	return body
}

func (s *Store) writeSealed(name string, body []byte) error {
	return writeFile(s.dir, name, func(w io.Writer) error {
		sealed := &streamWriter{sealer: s.sealer, w: w, name: name}
		if _, err := sealed.Write(body); err != nil {
			return err
		}
		return sealed.Close()
	})
}

func (s *Store) readSealed(name string) (_ []byte, err error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(newStreamReader(s.sealer, bufio.NewReader(f), name))
}

// loadRecent returns what is newer than the state, the zero value if there is nothing usable.
func (s *Store) loadRecent(state *replica.State) Recent {
	r, err := s.readRecent()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Recent{}
	case err != nil:
		s.log.Warn("damaged file of recent denials is skipped", "file", recentFile, "error", err)
		return Recent{}
	case r.Epoch != state.Epoch():
		return Recent{}
	}
	r.Denials = slices.DeleteFunc(r.Denials, func(d Denial) bool { return d.Revision <= state.Revision() })
	return r
}

func (s *Store) readRecent() (Recent, error) {
	body, err := s.readSealed(recentFile)
	if err != nil {
		return Recent{}, err
	}
	var r Recent
	if err := json.Unmarshal(body, &r); err != nil {
		return Recent{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return r, nil
}
