// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"log/slog"
	"testing"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
)

// BenchmarkRecord is what a call pays for its event, by many at the same time, of whom one in a thousand takes the events away as the
// writer does.
func BenchmarkRecord(b *testing.B) {
	c := Config{Dir: b.TempDir(), MaxBytes: 1 << 40, Full: Drop, Sender: &plane{}, Meter: metricnoop.Meter{}, Log: slog.New(slog.DiscardHandler)}
	r, err := Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	e := event("ev__echo")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if r.Record(e); n%1000 == 0 {
				r.mu.Lock()
				r.pending, r.spare = r.spare[:0], r.pending
				r.mu.Unlock()
			}
		}
	})
	b.ReportMetric(float64(r.lost.Load())/float64(b.N), "dropped/op")
}

// BenchmarkWrite is what the writer pays for an event: encoding and writing to the queue, in batches of a hundred.
func BenchmarkWrite(b *testing.B) {
	c := Config{Dir: b.TempDir(), MaxBytes: 1 << 40, Full: Drop, Sender: &plane{}, Meter: metricnoop.Meter{}, Log: slog.New(slog.DiscardHandler)}
	r, err := Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	e := event("ev__echo")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r.Record(e)
		if n%100 == 99 && !r.drain(b.Context()) {
			b.Fatal("not written")
		}
	}
}
