// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// shelf is an audit log that a test may spoil.
type shelf struct {
	store.OAuthReader
	records []store.AuditRecord
	err     error // of the second page
}

func (s shelf) Audit(_ context.Context, after int64, limit int) ([]store.AuditRecord, error) {
	if after > 0 && s.err != nil {
		return nil, s.err
	}
	rest := s.records[min(int(after), len(s.records)):]
	return rest[:min(limit, len(rest))], nil
}

func written(t *testing.T, n int) []store.AuditRecord {
	t.Helper()
	var list []store.AuditRecord
	var last store.Hash
	for i := range n {
		e := store.Event{Time: time.Unix(int64(i), 5000).UTC(), Action: "code.issued", Result: "ok", UserAgent: "a <b> & “c”\n\u2028\x00\"}"}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		r := store.AuditRecord{Seq: int64(i + 1), Event: e, JSON: b, Previous: last, Hash: store.AuditHash(last, b)}
		list, last = append(list, r), r.Hash
	}
	return list
}

// AU-5: what is exported can be checked with nothing but the lines, and holds every event once.
func TestExportAudit(t *testing.T) {
	for n := range 8 { // around the pages of three
		n++
		records := written(t, n)
		var out bytes.Buffer
		if err := store.ExportAudit(t.Context(), shelf{records: records}, &out, 3); err != nil {
			t.Fatal(err)
		}
		previous, lines := strings.Repeat("0", 64), 0
		for line := range strings.Lines(out.String()) {
			var got struct {
				Seq            int64
				Previous, Hash string
				Event          json.RawMessage
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			before, err := hex.DecodeString(got.Previous)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(append(before, got.Event...))
			var e store.Event
			if err := json.Unmarshal(got.Event, &e); err != nil || e != records[lines].Event {
				t.Errorf("event %s (%v)", got.Event, err)
			}
			if lines++; got.Seq != int64(lines) || got.Previous != previous || got.Hash != hex.EncodeToString(sum[:]) {
				t.Errorf("line %d does not follow: %s", lines, line)
			}
			previous = got.Hash
		}
		if lines != n {
			t.Errorf("%d lines of %d records", lines, n)
		}
	}
}

func TestExportAuditEnds(t *testing.T) {
	away := fault.New(fault.Unavailable, store.ReasonUnavailable, "The database cannot be reached.")
	broken := written(t, 6)
	broken[4].Event.Result = "refused"
	short := written(t, 3)
	for name, c := range map[string]struct {
		from   shelf
		to     interface{ Write([]byte) (int, error) }
		lines  int
		reason string
	}{
		"changed":       {shelf{records: broken}, nil, 4, store.ReasonAuditBroken},
		"store away":    {shelf{records: short, err: away}, nil, 3, store.ReasonUnavailable},
		"disk is full":  {shelf{records: short}, full{}, 0, fault.ReasonInternal},
		"nothing there": {shelf{}, nil, 0, store.ReasonAuditEmpty},
		"first missing": {shelf{records: written(t, 4)[1:]}, nil, 0, store.ReasonAuditBroken},
	} {
		var out bytes.Buffer
		if c.to == nil {
			c.to = &out
		}
		err := store.ExportAudit(t.Context(), c.from, c.to, 3)
		if err == nil || fault.From(err).Reason != c.reason || strings.Count(out.String(), "\n") != c.lines {
			t.Errorf("%s: %v after %d lines, want %s after %d", name, err, strings.Count(out.String(), "\n"), c.reason, c.lines)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }
