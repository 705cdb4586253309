// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"
)

// Live is how a fleet does while it runs: GET /live. GET /revisions?from=N answers with a [Revision] for each above N that
// all nodes have reached or gone beyond, GET /heap with a profile of what the process holds, GET /cpu?seconds=N with one of
// what it does.
type Live struct {
	Nodes     int `json:"nodes"`
	Connected int `json:"connected"`
	Loaded    int `json:"loaded"`
	// Agreed is whether all are at one revision, and those of a region have one digest.
	Agreed      bool   `json:"agreed"`
	MinRevision uint64 `json:"min_revision"`
	MaxRevision uint64 `json:"max_revision"`
	FullStates  int    `json:"full_states"`
	Rejects     int    `json:"rejects"`
	// ReadBytes and WrittenBytes are those of all connections so far, TLS included.
	ReadBytes    int64 `json:"read_bytes"`
	WrittenBytes int64 `json:"written_bytes"`
	// HandshakeBytes are what of ReadBytes was for TLS handshakes.
	HandshakeBytes int64 `json:"handshake_bytes"`
}

func live(members []*member) Live {
	l := Live{Nodes: len(members), Agreed: agree(members), MinRevision: math.MaxUint64}
	for _, m := range members {
		s := m.status()
		if s.Connected {
			l.Connected++
		}
		if s.Loaded {
			l.Loaded++
		}
		l.Rejects += s.Rejects
		l.MinRevision, l.MaxRevision = min(l.MinRevision, s.Revision), max(l.MaxRevision, s.Revision)
		l.ReadBytes, l.WrittenBytes = l.ReadBytes+m.read.Load(), l.WrittenBytes+m.written.Load()
		l.HandshakeBytes += m.shaken.Load()
		m.mu.Lock()
		l.FullStates += m.full
		m.mu.Unlock()
	}
	return l
}

// each returns all revisions above from that every node has reached or gone beyond.
func each(members []*member, from uint64) []Revision {
	list := []Revision{}
	for rev := from + 1; ; rev++ {
		x, ok := over(members, rev)
		if !ok {
			return list
		}
		list = append(list, x)
	}
}

// answer serves what a driver asks until the returned function is called.
func answer(listen string, members []*member) (stop func() error, err error) {
	if listen == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(live(members)) // a driver that is gone needs no answer
	})
	mux.HandleFunc("GET /revisions", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseUint(r.FormValue("from"), 10, 64)
		if err != nil {
			http.Error(w, "from is no revision", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(each(members, from)) // as above
	})
	mux.HandleFunc("GET /heap", func(w http.ResponseWriter, _ *http.Request) {
		runtime.GC()                           // so that it shows what is held, not what was used
		_ = pprof.Lookup("heap").WriteTo(w, 0) // as above
	})
	mux.HandleFunc("GET /cpu", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.Atoi(r.FormValue("seconds"))
		if err != nil || seconds < 1 || pprof.StartCPUProfile(w) != nil {
			http.Error(w, "seconds is no number of them, or somebody else has a profile made", http.StatusBadRequest)
			return
		}
		defer pprof.StopCPUProfile()
		pause(r.Context(), time.Duration(seconds)*time.Second)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return func() error {
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}
