// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// row is what one scenario came to.
type row struct {
	Scenario string         `json:"scenario"`
	Calls    int            `json:"calls"`
	Failed   int            `json:"failed"`
	Excused  int            `json:"excused"` // of these, in flight on what was killed and failed as specified
	Unknown  int            `json:"unknown"` // of these, answered outcome_unknown
	InFlight int            `json:"in_flight"`
	Twice    int            `json:"executed_twice"`
	Notices  int            `json:"notices"`
	Lost     int            `json:"notices_lost"`
	Again    int            `json:"notices_twice"`
	NoRedis  int            `json:"notices_without_redis"` // lost or twice, of calls made while Redis was away
	Progress int            `json:"progress_lost"`
	Resumed  int            `json:"resumed"`
	Refused  int            `json:"resume_refused"`
	Recovery float64        `json:"recovery_seconds"`
	Slowest  float64        `json:"slowest_call_seconds"`
	Reasons  map[string]int `json:"reasons,omitempty"`
	Passed   bool           `json:"passed"`
}

type report struct {
	Size     string  `json:"size"`
	Nodes    int     `json:"nodes"`
	Planes   int     `json:"control_planes"`
	Auth     int     `json:"authservers"`
	Sessions int     `json:"sessions"`
	Outage   float64 `json:"outage_seconds"`
	Rows     []*row  `json:"scenarios"`
}

func newReport(s size) *report {
	return &report{Size: s.Name, Nodes: s.nodes, Planes: s.controlPlanes, Auth: s.authservers, Sessions: s.sessions, Outage: s.outage.Seconds()}
}

// String is the table.
func (r *report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...any) {
		for _, c := range cells {
			_, _ = fmt.Fprintf(w, "%v\t", c) // a builder takes everything
		}
		_, _ = fmt.Fprintln(w)
	}
	line("scenario", "", "calls", "failed", "of them excused", "in flight", "ran twice", "notices", "lost", "twice", "without Redis", "resumed", "recovery s", "slowest s")
	for _, x := range r.Rows {
		verdict := "ok"
		if !x.Passed {
			verdict = "FAIL"
		}
		line(x.Scenario, verdict, x.Calls, x.Failed, x.Excused, x.InFlight, x.Twice, x.Notices, x.Lost, x.Again, x.NoRedis, x.Resumed,
			fmt.Sprintf("%.1f", x.Recovery), fmt.Sprintf("%.1f", x.Slowest))
	}
	_ = w.Flush() // as above
	return b.String()
}

// write keeps the report as JSON.
func (r *report) write() error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "fleet-"+r.Size+".json"), append(text, '\n'), 0o600)
}

func seconds(d time.Duration) float64 { return d.Round(10 * time.Millisecond).Seconds() }
