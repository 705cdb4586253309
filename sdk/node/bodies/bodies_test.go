// SPDX-License-Identifier: Apache-2.0

package bodies_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/sdk/node/bodies"
)

func newStore(t testing.TB) *bodies.Store {
	t.Helper()
	s, err := bodies.New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// text is a body of about n bytes that compresses like a definition.
func text(i, n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(i)))
	b := make([]byte, 0, n+80)
	for len(b) < n {
		b = strconv.AppendInt(append(b, `{"name":"tool-`...), int64(i), 10)
		b = strconv.AppendInt(append(b, `","description":"word`...), int64(r.IntN(500)), 10)
		b = strconv.AppendInt(append(b, ` word`...), int64(r.IntN(500)), 10)
		b = append(b, `","type":"string"},`...)
	}
	return b
}

// TestBytes: what was added comes back, whatever its size and whether its block is open or closed.
func TestBytes(t *testing.T) {
	s := newStore(t)
	random := make([]byte, 40<<10)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	want := [][]byte{nil, {}, []byte("x"), random, text(0, 300<<10), random[:32<<10], random[:100]}
	for i := range 500 {
		want = append(want, text(i, 100+i*7))
	}
	var got []*bodies.Body
	for _, w := range want {
		given := bytes.Clone(w)
		got = append(got, s.Add(given))
		clear(given) // a copy is kept
	}
	for range 2 { // the second time from the bytes kept beside the blocks
		for i, w := range want {
			if !bytes.Equal(got[i].Bytes(), w) || got[i].Len() != len(w) {
				t.Fatalf("body %d: %d bytes, want %d", i, got[i].Len(), len(w))
			}
		}
	}
	if !got[2].Is(got[2]) || got[2].Is(got[3]) || got[2].Is("x") {
		t.Error("Is does not tell bodies apart")
	}
}

// TestForget: forgotten bodies stay readable for who has them, the others survive the blocks they were in.
func TestForget(t *testing.T) {
	s := newStore(t)
	var list []*bodies.Body
	for i := range 2000 {
		list = append(list, s.Add(text(i, 1000)))
	}
	for i, b := range list {
		if i%10 != 0 {
			s.Forget(b)
		}
	}
	s.Forget(list[1]) // twice is once
	for i, b := range list {
		if !bytes.Equal(b.Bytes(), text(i, 1000)) {
			t.Fatalf("body %d is not what it was", i)
		}
	}
}

// TestMemory: a body takes less than half its length, and when most are forgotten, the rest takes no more than it must.
func TestMemory(t *testing.T) {
	const count, size = 15_000, 1800
	s := newStore(t)
	for i := range 100 { // what the compressor needs for itself
		s.Add(text(i, size)).Bytes()
	}
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	list := make([]*bodies.Body, count)
	for i := range list {
		list[i] = s.Add(text(i, size))
	}
	all := live() - before
	if limit := int64(count * size / 2); all > limit {
		t.Errorf("%d bodies of %d bytes take %d KB, want at most %d", count, size, all>>10, limit>>10)
	}
	var kept []*bodies.Body
	for i, b := range list {
		if i%20 == 0 {
			kept = append(kept, b)
		} else {
			s.Forget(b)
		}
	}
	clear(list)
	few := live() - before
	if few > all/6 {
		t.Errorf("a twentieth of the bodies takes %d KB of %d", few>>10, all>>10)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(kept)
}

// TestHot: reading everything keeps no more plain bytes than the limit.
func TestHot(t *testing.T) {
	s := newStore(t)
	var list []*bodies.Body
	for i := range 64 {
		list = append(list, s.Add(bytes.Repeat([]byte{byte(i)}, 1<<20)))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, b := range list {
		b.Bytes()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
		t.Errorf("reading 64 MB keeps %d MB", grown>>20)
	}
	runtime.KeepAlive(list)
}

// TestChunks: what is written and adopted is what was added, also out of blocks that are mostly dead or still open, and
// nothing is written that nobody asked for but what shares a block.
func TestChunks(t *testing.T) {
	s := newStore(t)
	var all, asked []*bodies.Body
	for i := range 400 {
		all = append(all, s.Add(text(i, 500+i)))
	}
	want := map[int]int{} // index in asked → number of the text
	for i, b := range all {
		if i < 100 || i%25 == 0 || i > 395 {
			want[len(asked)] = i
			asked = append(asked, b)
		}
	}
	other := newStore(t)
	seen := map[int]bool{}
	size := 0
	err := s.Chunks(asked, func(c bodies.Chunk) error {
		size += c.Size
		list, err := other.Adopt(c)
		if err != nil {
			return err
		}
		for i, p := range c.Parts {
			if seen[p.Body] {
				t.Errorf("body %d comes twice", p.Body)
			}
			seen[p.Body] = true
			if !bytes.Equal(list[i].Bytes(), text(want[p.Body], 500+want[p.Body])) {
				t.Errorf("body %d is not what it was", p.Body)
			}
		}
		clear(c.Packed[:0])
		return nil
	})
	if err != nil || len(seen) != len(asked) {
		t.Fatalf("%v, %d bodies of %d", err, len(seen), len(asked))
	}
	plain := 0
	for _, b := range asked {
		plain += b.Len()
	}
	if size > plain*2 {
		t.Errorf("%d bytes were written for %d", size, plain)
	}
	stop := errors.New("stop")
	if err := s.Chunks(asked, func(bodies.Chunk) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of write", err)
	}
	if err := s.Chunks(nil, func(bodies.Chunk) error { return stop }); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
}

// TestAdoptRefuses: parts that are not inside the chunk.
func TestAdoptRefuses(t *testing.T) {
	for _, p := range []bodies.Part{{Start: -1, Size: 1}, {Start: 0, Size: 11}, {Start: 10, Size: 1}, {Start: 1 << 62, Size: 1 << 62}, {Size: -1}} {
		if _, err := newStore(t).Adopt(bodies.Chunk{Size: 10, Parts: []bodies.Part{p}}); !errors.Is(err, bodies.ErrRange) {
			t.Errorf("%+v: got %v", p, err)
		}
	}
}

// TestConcurrent: readers and the disk see whole bodies while one goroutine adds and forgets; run with -race.
func TestConcurrent(t *testing.T) {
	s := newStore(t)
	var mu sync.Mutex
	current := map[int]*bodies.Body{}
	done := make(chan struct{})
	var readers sync.WaitGroup
	snapshot := func() (numbers []int, list []*bodies.Body) {
		mu.Lock()
		defer mu.Unlock()
		for n, b := range current {
			numbers, list = append(numbers, n), append(list, b)
		}
		return numbers, list
	}
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				numbers, list := snapshot()
				for i, b := range list {
					if !bytes.Equal(b.Bytes(), text(numbers[i], 800)) {
						t.Errorf("body %d is not what it was", numbers[i])
						return
					}
				}
				if err := s.Chunks(list, func(bodies.Chunk) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 300 {
		b := s.Add(text(n, 800))
		mu.Lock()
		current[n] = b
		gone := current[n-60]
		delete(current, n-60)
		mu.Unlock()
		if gone != nil {
			s.Forget(gone)
		}
	}
	close(done)
	readers.Wait()
}

func BenchmarkBytes(b *testing.B) {
	s := newStore(b)
	var list []*bodies.Body
	for i := range 40_000 {
		list = append(list, s.Add(text(i, 1800)))
	}
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			list[i*7919%len(list)].Bytes()
		}
	})
	b.Run("hot", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			list[0].Bytes()
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := newStore(b)
	body := text(1, 1800)
	b.SetBytes(int64(len(body)))
	for range b.N {
		s.Add(body)
	}
}
