// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
)

// auditTime is when the first event of these tests was.
func auditTime() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// called is the nth tool call.
func called(n int) audit.Event {
	return audit.Event{
		Time: auditTime().Add(time.Duration(n) * time.Second), Source: audit.ToolCall, Outcome: "ok", Revision: 3,
		Principal: audit.Principal{Kind: "user", UID: "u1", Name: "ada@example.com"},
		Call:      &audit.Call{Node: "n1", Gateway: "eng", Tool: "ev/echo", Door: "direct", RequestedName: fmt.Sprint(n)},
	}
}

func calls(from, to int) (events []audit.Event) {
	for n := from; n <= to; n++ {
		events = append(events, called(n))
	}
	return events
}

// listed are the numbers of the calls, and the methods of the writes, that a filter admits.
func listed(t *testing.T, s *sqlstore.Store, f audit.Filter) (names []string) {
	t.Helper()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	p, err := s.ListAudit(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Events {
		if e.Call != nil {
			names = append(names, e.Call.RequestedName)
		} else {
			names = append(names, e.Write.Method)
		}
	}
	return names
}

// TestAuditUpload: whatever is handed in again, in part or by two at the same time, is stored once; queues and nodes do not meet.
func TestAuditUpload(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: dsn(t)})
			upload := func(node, queue string, first uint64, events []audit.Event, want uint64) {
				t.Helper()
				if got, err := s.UploadAudit(t.Context(), audit.Upload{Node: node, Queue: queue, First: first, Events: events}); err != nil || got != want {
					t.Fatalf("stored %d, %v; want %d", got, err, want)
				}
			}
			upload("n1", "q1", 1, calls(1, 3), 3)
			upload("n1", "q1", 1, calls(1, 3), 3)
			upload("n1", "q1", 2, calls(2, 5), 5)
			upload("n1", "q1", 2, calls(2, 2), 5)
			upload("n1", "q2", 1, calls(6, 7), 2)
			upload("n2", "q1", 1, calls(8, 8), 1)
			upload("n1", "q1", 6, calls(9, 250), 247) // more than one INSERT
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					for n := 251; n <= 270; n++ {
						u := audit.Upload{Node: "n3", Queue: "q", First: uint64(n - 250), Events: calls(n, n+2)}
						if _, err := s.UploadAudit(t.Context(), u); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			var want []string
			for n := 272; n > 0; n-- {
				want = append(want, fmt.Sprint(n))
			}
			if diff := cmp.Diff(want, listed(t, s, audit.Filter{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			page, err := s.ListAudit(t.Context(), audit.Filter{Limit: 1})
			if err != nil || len(page.Events) != 1 {
				t.Fatal(page, err)
			}
			want1 := called(272)
			want1.ID = page.Events[0].ID
			if diff := cmp.Diff(want1, page.Events[0]); diff != "" || page.LastID < want1.ID {
				t.Errorf("last id %d (-want +got):\n%s", page.LastID, diff)
			}
		})
	}
}

// TestAuditList is each filter, pages, and following.
func TestAuditList(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: dsn(t)})
			events := calls(1, 6)
			events[1].Call.Gateway = "ops"
			events[2].Call.Tool = "ev2/echo"
			events[3].Outcome, events[3].Call.Policy = "refused", "no-writes"
			events[4].Principal = audit.Principal{Kind: "team", UID: "t1", Name: "eng"}
			events[5].Call.Tool = "ev/other"
			write := audit.Event{
				Time: auditTime().Add(time.Minute), Source: audit.Admin, Outcome: "ok", Principal: audit.Principal{Kind: "user", UID: "u2", Name: "root@example.com"},
				Write: &audit.Write{Method: "UpdateGateway", Kind: "Gateway", Name: "eng", Fields: []string{"tools"}},
			}
			if err := s.AddAudit(t.Context(), append(events, write)); err != nil {
				t.Fatal(err)
			}
			third := uint64(3)
			for _, tt := range []struct {
				name string
				f    audit.Filter
				want []string
			}{
				{"all", audit.Filter{}, []string{"UpdateGateway", "6", "5", "4", "3", "2", "1"}},
				{"limit", audit.Filter{Limit: 2}, []string{"UpdateGateway", "6"}},
				{"next page", audit.Filter{BeforeTime: events[4].Time.UnixMicro(), BeforeID: 5}, []string{"4", "3", "2", "1"}},
				{"same moment, next page", audit.Filter{BeforeTime: events[4].Time.UnixMicro(), BeforeID: 6}, []string{"5", "4", "3", "2", "1"}},
				{"calls", audit.Filter{Source: audit.ToolCall}, []string{"6", "5", "4", "3", "2", "1"}},
				{"writes", audit.Filter{Source: audit.Admin}, []string{"UpdateGateway"}},
				{"gateway", audit.Filter{Gateway: "ops"}, []string{"2"}},
				{"tool", audit.Filter{Tool: "ev/echo"}, []string{"5", "4", "2", "1"}},
				{"tools of a server, and of none that begins so", audit.Filter{Tool: "ev/*"}, []string{"6", "5", "4", "2", "1"}},
				{"outcome", audit.Filter{Outcome: "refused"}, []string{"4"}},
				{"policy", audit.Filter{Policy: "no-writes"}, []string{"4"}},
				{"principal", audit.Filter{Principal: "team:eng"}, []string{"5"}},
				{"own", audit.Filter{PrincipalKey: "user:u2"}, []string{"UpdateGateway"}},
				{"time", audit.Filter{Start: events[1].Time, End: events[3].Time}, []string{"3", "2"}},
				{"both", audit.Filter{Tool: "ev/*", Gateway: "eng", Outcome: "ok"}, []string{"6", "5", "1"}},
				{"followed", audit.Filter{After: &third}, []string{"4", "5", "6", "UpdateGateway"}},
				{"followed, filtered", audit.Filter{After: &third, Outcome: "ok", Limit: 2}, []string{"5", "6"}},
				{"none", audit.Filter{Gateway: "' OR 1=1 --"}, nil},
			} {
				if diff := cmp.Diff(tt.want, listed(t, s, tt.f)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
			}
		})
	}
}

// TestAuditDrop: what is too old goes, more of it than one transaction takes, and with it what is known of old queues.
func TestAuditDrop(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			now := auditTime()
			s := open(t, sqlstore.Config{DSN: dsn(t), Now: func() time.Time { return now }})
			for first := 1; first <= 1201; first += 600 {
				u := audit.Upload{Node: "n1", Queue: "q1", First: uint64(first), Events: calls(first, first+599)}
				if _, err := s.UploadAudit(t.Context(), u); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.DropAudit(t.Context(), called(1799).Time); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"1800", "1799"}, listed(t, s, audit.Filter{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
