// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// state is what a run needs to be continued: the account at a moment when no write was under way.
type state struct {
	Run      uint64           `json:"run"` // how often it was begun
	Round    uint64           `json:"round"`
	Last     catalog.Revision `json:"last"`
	Findings Findings         `json:"findings"`
	Took     time.Duration    `json:"took_ns"`
	Kills    int64            `json:"kills"`
	Restarts int64            `json:"restarts"`
	Failed   []failed         `json:"failed"`
	Latest   []version        `json:"latest"`
}

type failed struct {
	attempt
	fate
}

type version struct {
	Key     catalog.Key  `json:"key"`
	Version catalog.Hash `json:"version"`
}

func load(path string) (s state, err error) {
	if path == "" {
		return state{}, nil
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return state{}, fmt.Errorf("read the state to continue from: %w", err)
	}
	return s, nil
}

func (s state) save(path string) error {
	if path == "" {
		return nil
	}
	body, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(path+".new", body, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write the state to continue from: %w", err)
	}
	return nil
}

// restore makes the ledger of a state.
func (s state) restore() *ledger {
	l := newLedger()
	l.last, l.findings = s.Last, s.Findings
	if l.findings.ErrorsByKind == nil {
		l.findings.ErrorsByKind = make(map[string]int64)
	}
	for _, f := range s.Failed {
		l.open[f.attempt] = &f.fate
	}
	for _, v := range s.Latest {
		l.latest[v.Key] = v.Version
	}
	return l
}

// take enters the ledger into the state.
func (s *state) take(l *ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Last, s.Findings = l.last, l.findings
	s.Failed, s.Latest = s.Failed[:0], s.Latest[:0]
	for a, f := range l.open {
		s.Failed = append(s.Failed, failed{attempt: a, fate: *f})
	}
	for k, v := range l.latest {
		s.Latest = append(s.Latest, version{Key: k, Version: v})
	}
}
