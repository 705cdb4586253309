// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/metric"
)

const (
	// maxTexts bounds the texts that have vectors: as many as a node has tools at most.
	maxTexts = 100_000
	// maxText is how much of one text is embedded, in bytes: about as much as models of sentences read.
	maxText = 1024
	// unused is how long a vector is kept that no index has: the index of a new revision is made at its first search only.
	unused = time.Hour
	// sweepEvery is how often vectors are looked for that nobody has.
	sweepEvery = 10 * time.Minute
)

// Endpoint makes vectors: embedding.Client does.
type Endpoint interface {
	// Embed returns a vector of length one for each text, in their order.
	Embed(ctx context.Context, texts []string) ([][]float32, error)
}

// Config is what [New] needs. All of it is required.
type Config struct {
	Endpoint Endpoint
	Model    string        // the name of what makes the vectors
	Timeout  time.Duration // how long a search waits for the vector of its query
	Log      *slog.Logger
	Meter    metric.MeterProvider
}

// Vectors keeps the vectors of texts. It is safe for concurrent use; [Vectors.Run] is called once.
type Vectors struct {
	c       Config
	meters  meters
	gate    *gobreaker.CircuitBreaker[[]float32] // of queries
	numbers atomic.Int64                         // of one vector; 0 until the first is there
	told    telling
	work    chan struct{} // has an element if something waits

	mu      sync.Mutex
	texts   map[[sha256.Size]byte]*text
	sets    map[weak.Pointer[Set]]struct{}
	waiting []*text // first come, first served
	refused []*text // failed alone, and are tried again when nothing else waits
}

// New returns an empty Vectors, whose Run makes the vectors that are wanted.
func New(c Config) (*Vectors, error) {
	if c.Endpoint == nil || c.Model == "" || c.Timeout <= 0 || c.Log == nil || c.Meter == nil {
		return nil, errors.New("vectors need an endpoint, a model, a timeout, a log and a meter")
	}
	v := &Vectors{
		c: c, work: make(chan struct{}, 1), texts: make(map[[sha256.Size]byte]*text), sets: make(map[weak.Pointer[Set]]struct{}),
	}
	v.gate = v.newGate()
	var err error
	if v.meters, err = newMeters(c.Meter, v); err != nil {
		return nil, fmt.Errorf("make the instruments of embeddings: %w", err)
	}
	return v, nil
}

// text is what a vector is made of.
type text struct {
	content string                    // empty once the vector is there; of whoever took it from waiting
	vector  atomic.Pointer[[]float32] // nil until it is made
	without atomic.Bool               // nobody waits for its vector any more: the endpoint does not take the text
	alone   bool                      // to be sent without others, one of which may be why it failed; under mu
	failed  int                       // times that it failed alone; under mu
	wanted  time.Time                 // when a set last had it; under mu
}

// settled reports whether there is nothing to wait for.
func (t *text) settled() bool { return t.vector.Load() != nil || t.without.Load() }

// Set is the vectors of the texts of one index, by their places. Who keeps it keeps the vectors.
type Set struct {
	texts []*text
	all   atomic.Bool // every text was seen to be settled
}

// Want returns the set of texts; what has no vector yet gets one in the background. It is nil, which is never ready, if there are more
// texts than are kept.
func (v *Vectors) Want(contents []string) *Set {
	s, now := &Set{texts: make([]*text, len(contents))}, time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	fresh := make(map[[sha256.Size]byte]*text)
	for i, content := range contents {
		content = strings.ToValidUTF8(content[:min(len(content), maxText)], "")
		key := sha256.Sum256([]byte(v.c.Model + "\x00" + content))
		t := v.texts[key]
		if t == nil {
			t = fresh[key]
		}
		if t == nil {
			t = &text{content: content}
			fresh[key] = t
			v.waiting = append(v.waiting, t)
		}
		t.wanted = now
		s.texts[i] = t
	}
	if len(v.texts)+len(fresh) > maxTexts {
		v.waiting = v.waiting[:len(v.waiting)-len(fresh)]
		if v.told.due() {
			v.c.Log.Warn("too many tools for vectors: a gateway is searched by words alone")
		}
		return nil
	}
	maps.Copy(v.texts, fresh)
	v.sets[weak.Make(s)] = struct{}{}
	v.wake()
	return s
}

// ready reports whether every text that is kept is settled; nil keeps all. Others do not count: that their vectors are missing must not show.
func (s *Set) ready(keep func(i int) bool) bool {
	if s == nil || len(s.texts) == 0 {
		return false
	}
	if s.all.Load() {
		return true
	}
	every := true
	for i, t := range s.texts {
		if t.settled() {
			continue
		}
		if keep == nil || keep(i) {
			return false
		}
		every = false
	}
	if every {
		s.all.Store(true)
	}
	return true
}

// sweep forgets texts that no set has had for an hour.
func (v *Vectors) sweep(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for p := range v.sets {
		s := p.Value()
		if s == nil {
			delete(v.sets, p)
			continue
		}
		for _, t := range s.texts {
			t.wanted = now
		}
	}
	for key, t := range v.texts {
		if now.Sub(t.wanted) >= unused {
			delete(v.texts, key)
		}
	}
	used := func(list []*text) []*text {
		return slices.DeleteFunc(list, func(t *text) bool { return now.Sub(t.wanted) >= unused })
	}
	v.waiting, v.refused = used(v.waiting), used(v.refused)
}

// states counts the texts with a vector, those that wait for one, and those that the endpoint does not take.
func (v *Vectors) states() (ready, waiting, refused int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.texts {
		switch {
		case t.vector.Load() != nil:
			ready++
		case t.without.Load():
			refused++
		default:
			waiting++
		}
	}
	return ready, waiting, refused
}

// fits checks the length of a vector against those that came before.
func (v *Vectors) fits(vector []float32) error {
	n := int64(len(vector))
	if v.numbers.CompareAndSwap(0, n) || v.numbers.Load() == n {
		return nil
	}
	return fmt.Errorf("its vectors have %d numbers where earlier ones had %d: if the model was changed, restart the node", n, v.numbers.Load())
}
