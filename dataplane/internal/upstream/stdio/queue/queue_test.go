// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
)

const logged = "notifications/message"

func event(method, raw string) Item { return Item{Event: peer.Event{Method: method, Raw: []byte(raw)}} }

func raws(list []Item) (out []string) {
	for _, it := range list {
		out = append(out, string(it.Event.Raw))
	}
	return out
}

// M-20: the oldest progress goes first, whatever comes; equal notices become one.
func TestPush(t *testing.T) {
	full := func(method string) []Item {
		var list []Item
		for i := range Max {
			list = append(list, event(method, fmt.Sprint(i)))
		}
		return list
	}
	list := event("notifications/tools/list_changed", "l")
	other := list
	other.Connection = "other"
	for _, c := range []struct {
		name         string
		before       []Item
		push         Item
		queued, lost bool
		want         []string // the first two, and the last
	}{
		{"into an empty queue", nil, event(logged, "a"), true, false, []string{"a"}},
		{"progress for progress", full(progress), event(progress, "new"), true, true, []string{"1", "2", "new"}},
		{"a log message for progress", full(progress), event(logged, "new"), true, true, []string{"1", "2", "new"}},
		{"progress for nothing", full(logged), event(progress, "new"), false, true, []string{"0", "1", "255"}},
		{"too large a message for an empty queue", nil, event(logged, strings.Repeat("x", MaxBytes+1)), true, false, []string{strings.Repeat("x", MaxBytes+1)}},
		{"too many bytes", []Item{event(logged, strings.Repeat("x", MaxBytes))}, event(logged, "y"), false, true, []string{strings.Repeat("x", MaxBytes)}},
		{"an equal notice", []Item{list, event(logged, "a")}, list, true, false, []string{"l", "a"}},
		{"an equal notice of another connection", []Item{list}, other, true, false, []string{"l", "l"}},
		{"an equal log message", []Item{event(logged, "a")}, event(logged, "a"), true, false, []string{"a", "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := New()
			for _, it := range c.before {
				if queued, lost := q.Push(it); !queued || lost {
					t.Fatal("the beginning does not fit")
				}
			}
			queued, lost := q.Push(c.push)
			if queued != c.queued || lost != c.lost {
				t.Errorf("queued %v, lost %v", queued, lost)
			}
			got := raws(q.Take())
			if len(got) > 3 {
				got = slices.Delete(got, 2, len(got)-1)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
			if queued, _ := q.Push(event(logged, strings.Repeat("x", MaxBytes))); !queued {
				t.Error("the bytes taken still count")
			}
		})
	}
}

func TestClose(t *testing.T) {
	q := New()
	q.Push(event(logged, "a"))
	<-q.Wake
	q.Ring()
	<-q.Wake
	if diff := cmp.Diff([]string{"a"}, raws(q.Close())); diff != "" {
		t.Errorf("what is left differs (-want +got):\n%s", diff)
	}
	if queued, lost := q.Push(event(logged, "b")); queued || !lost {
		t.Error("a closed queue takes messages")
	}
}
