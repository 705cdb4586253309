// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/pprof" // only Ops serves it: nothing serves http.DefaultServeMux
	"slices"
)

// Check says whether one part of the process is ready. The detail is a short
// phrase for people, shown either way ("revision 12, 3 s old"); the error
// says why the part is not ready. It answers at once, from memory, and may be
// called at the same time from several requests.
type Check func() (detail string, err error)

// OpsConfig is what the ops port of a process shows.
type OpsConfig struct {
	Service, Version string
	Checks           map[string]Check // by name; not changed after Ops
	Metrics          http.Handler     // [Telemetry].Metrics; nil leaves /metrics out
}

// Ops returns the handler of a process's ops port, which is not meant for the
// open network:
//
//   - GET /healthz: 200 while the process is alive;
//   - GET /readyz: runs every check; 200 when all pass, otherwise 503;
//   - GET /metrics: the Prometheus page;
//   - /debug/pprof/: the runtime's profiles.
//
// The bodies of the first two are JSON:
//
//	{"status":"unready","service":"penstock-dataplane","version":"0.1.0",
//	 "checks":[{"name":"view","ok":false,"error":"no view loaded"}]}
func Ops(c OpsConfig) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, opsStatus{Status: "ok", Service: c.Service, Version: c.Version})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, code := c.ready()
		writeStatus(w, code, status)
	})
	if c.Metrics != nil {
		mux.Handle("GET /metrics", c.Metrics)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

type opsStatus struct {
	Status  string        `json:"status"` // ok, ready, unready
	Service string        `json:"service,omitempty"`
	Version string        `json:"version,omitempty"`
	Checks  []checkStatus `json:"checks,omitempty"`
}

type checkStatus struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (c OpsConfig) ready() (opsStatus, int) {
	status, code := opsStatus{Status: "ready", Service: c.Service, Version: c.Version}, http.StatusOK
	for _, name := range slices.Sorted(maps.Keys(c.Checks)) {
		detail, err := c.Checks[name]()
		s := checkStatus{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			s.Error = err.Error()
			status.Status, code = "unready", http.StatusServiceUnavailable
		}
		status.Checks = append(status.Checks, s)
	}
	return status, code
}

func writeStatus(w http.ResponseWriter, code int, s opsStatus) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // a cached answer would not tell the truth
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(s) // the prober went away; there is nobody to tell
}
