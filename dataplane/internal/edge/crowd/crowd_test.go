// SPDX-License-Identifier: Apache-2.0

package crowd

import (
	"sync"
	"testing"
)

func TestCrowd(t *testing.T) {
	c := New(Count{Requests: 2, Streams: 1})
	ada, bob, sales := Seat{"eng", "user", "ada"}, Seat{"eng", "user", "bob"}, Seat{"sales", "user", "ada"}
	request, stream := Count{Requests: 1}, Count{Streams: 1}
	for _, tt := range []struct {
		name string
		who  Seat
		more Count
		want bool
	}{
		{"first request", ada, request, true},
		{"second", ada, request, true},
		{"third is too many", ada, request, false},
		{"streams are counted apart", ada, stream, true},
		{"second stream", ada, stream, false},
		{"another principal", bob, request, true},
		{"another gateway", sales, request, true},
	} {
		if got := c.Enter(tt.who, tt.more); got != tt.want {
			t.Errorf("%s: Enter = %v, want %v", tt.name, got, tt.want)
		}
	}
	c.Leave(ada, request)
	if !c.Enter(ada, request) || c.Enter(ada, request) {
		t.Error("one that left makes room for exactly one")
	}
	for _, who := range []Seat{ada, ada, bob, sales} {
		c.Leave(who, request)
	}
	c.Leave(ada, stream)
	if len(c.counts) != 0 {
		t.Errorf("counts are left: %v", c.counts)
	}
}

func TestCrowdTogether(t *testing.T) {
	c := New(Count{Requests: 8})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if !c.Enter(Seat{"eng", "user", "ada"}, Count{Requests: 1}) {
					t.Error("eight at once are within the limit")
					return
				}
				c.Leave(Seat{"eng", "user", "ada"}, Count{Requests: 1})
			}
		})
	}
	wg.Wait()
	if len(c.counts) != 0 {
		t.Errorf("counts are left: %v", c.counts)
	}
}
