// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/subject"
)

// reference is the system that all figures are divided by.
const reference = "rp"

// A row is all visits to one system under one load.
type row struct {
	Workload    workload
	Concurrency int
	System      string
	Samples     []sample // one per round
	// Figures, medians over the rounds; NaN where there is none. Ratios are to the reference in the same round.
	CPURatio      float64
	CPURatios     []float64 // per round
	AddedP50Ratio float64   // (p50 − direct's p50) ÷ the same of the reference
	AddedP99Ratio float64
	Void          string // why no figure of this row counts; empty if they do
}

// measure starts everything, makes the visits, and reports.
func measure(ctx context.Context, s settings, stdout io.Writer) error {
	info := describeMachine(ctx, s)
	systems, err := startSystems(ctx, s)
	defer func() {
		for _, started := range systems {
			started.Stop()
		}
	}()
	if err != nil {
		return err
	}
	var rows []row
	for _, w := range s.Workloads {
		for _, concurrency := range s.Concurrency {
			made, err := visitAll(ctx, s, systems, w, concurrency)
			if err != nil {
				return err
			}
			rows = append(rows, made...)
			printTable(stdout, made)
		}
	}
	info.finish()
	info.print(stdout)
	if s.Out != "" {
		if err := writeFiles(s.Out, info, rows); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "written to %s\n", s.Out)
	}
	for _, r := range rows {
		if r.Void != "" {
			return fmt.Errorf("%s, %s at %d: %s", r.System, r.Workload.Name, r.Concurrency, r.Void)
		}
	}
	return nil
}

// visitAll makes the rounds of one load and returns a row per system.
func visitAll(ctx context.Context, s settings, systems []*subject.System, w workload, concurrency int) ([]row, error) {
	var rows []row
	var taking []*subject.System
	for _, candidate := range systems {
		if candidate.Can(w.Name) {
			taking = append(taking, candidate)
			rows = append(rows, row{Workload: w, Concurrency: concurrency, System: candidate.Name})
		}
	}
	for round := range s.Rounds {
		for step := range taking {
			i := (round + step) % len(taking)
			v := visit{
				Endpoint: taking[i].Endpoint, Workload: w, Concurrency: concurrency,
				WarmUp: s.WarmUp, Duration: s.Duration, Usage: taking[i].Usage,
			}
			got, err := v.run(ctx)
			for s.Smoke && err == nil && got.Calls == 0 && v.Duration < longestSmoke {
				v.Duration *= 4 // a busy machine may do nothing at all in a moment
				got, err = v.run(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s at %d: %w", taking[i].Name, w.Name, concurrency, err)
			}
			rows[i].Samples = append(rows[i].Samples, got)
		}
	}
	fillFigures(rows)
	return rows, nil
}

// longestSmoke is the longest that a smoke run waits for a first call.
const longestSmoke = 10 * time.Second

// fillFigures computes what needs other rows. Rows without those get NaN.
func fillFigures(rows []row) {
	samplesOf := func(name string) []sample {
		for _, r := range rows {
			if r.System == name {
				return r.Samples
			}
		}
		return nil
	}
	direct, base := samplesOf("direct"), samplesOf(reference)
	for i := range rows {
		r := &rows[i]
		var p50, p99 []float64
		for round, got := range r.Samples {
			if got.Bad > 0 {
				r.Void = fmt.Sprintf("%d wrong answers, the first: %s", got.Bad, got.FirstBad)
			}
			if got.Calls == 0 {
				r.Void = "no call in the measured time"
			}
			if round >= len(base) || round >= len(direct) || r.System == "direct" {
				continue // its CPU time is the upstream's
			}
			r.CPURatios = append(r.CPURatios, ratio(got.cpuPerCall(), base[round].cpuPerCall()))
			p50 = append(p50, ratio(got.P50-direct[round].P50, base[round].P50-direct[round].P50))
			p99 = append(p99, ratio(got.P99-direct[round].P99, base[round].P99-direct[round].P99))
		}
		r.CPURatio, r.AddedP50Ratio, r.AddedP99Ratio = median(r.CPURatios), median(p50), median(p99)
	}
}

// ratio is a ÷ b; NaN where b is not positive, which happens to added latencies on a noisy machine.
func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// cpuSeconds is the CPU time that the row's figure rests on. Below 1 s it is marked: the clock of /proc ticks in 10 ms.
func (r row) cpuSeconds() float64 {
	var sum time.Duration
	for _, s := range r.Samples {
		sum += s.CPU
	}
	return sum.Seconds()
}
