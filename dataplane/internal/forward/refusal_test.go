// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestForwardFaults is what becomes of requests that no other node answers: nothing is sent to the client.
func TestForwardFaults(t *testing.T) {
	dead := func(w *world) string { // nobody listens there
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	fine := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }
	other := func(change func(*ident.Workload)) *ident.Workload {
		who := workload("a")
		change(&who)
		return &who
	}
	ban := func(name string) func(ident.Workload) error {
		return func(who ident.Workload) error {
			if who.Name != name {
				return nil
			}
			return fault.New(fault.Denied, forward.ReasonBanned, "The peer was banned.")
		}
	}
	for _, tc := range []struct {
		name   string
		why    string
		set    func(w *world) frontOptions
		reason string
	}{
		{"unknown", forward.WhyHeld, func(*world) frontOptions { return frontOptions{} }, forward.ReasonUnknown},
		{"unreachable", forward.WhyHeld, func(w *world) frontOptions {
			w.board.put(forward.Node{Name: "a", Address: dead(w)})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"draining, for something new", forward.WhyHome, func(w *world) frontOptions {
			w.board.put(forward.Node{Name: "a", Address: dead(w), Draining: true})
			return frontOptions{}
		}, forward.ReasonDraining},
		{"draining, but not known to be", forward.WhyHome, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine}).setDraining(true)
			return frontOptions{}
		}, forward.ReasonDraining},
		{"another node answers", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine, identity: other(func(i *ident.Workload) { i.Name = "b" })})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"a control plane answers", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine, identity: other(func(i *ident.Workload) { i.Role = ident.RoleControlPlane })})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"a node of another region answers", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine, identity: other(func(i *ident.Workload) { i.Region = "us" })})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"a node of another trust domain answers", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine, identity: other(func(i *ident.Workload) { i.TrustDomain = "elsewhere.test" })})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"a banned node answers", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			return frontOptions{refuse: ban("a")}
		}, forward.ReasonUnreachable},
		{"this node is banned", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine, refuse: ban("front")})
			return frontOptions{}
		}, forward.ReasonUnreachable},
		{"this node has another's certificate", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			who := workload("somebody")
			return frontOptions{identity: &who}
		}, forward.ReasonRefused},
		{"this node is a control plane", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			who := workload("front")
			who.Role = ident.RoleControlPlane
			return frontOptions{identity: &who}
		}, forward.ReasonUnreachable},
		{"this node is of another region", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			who := workload("front")
			who.Region = "us"
			return frontOptions{identity: &who}
		}, forward.ReasonUnreachable},
		{"lost before the answer", forward.WhyHeld, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }})
			return frontOptions{}
		}, forward.ReasonLost},
		{"an unknown reason", "whim", func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			return frontOptions{}
		}, forward.ReasonRefused},
		{"an unwanted answer", forward.WhyResume, func(w *world) frontOptions {
			w.start("a", memberOptions{serve: fine})
			o := frontOptions{request: toA(forward.WhyResume)}
			o.request.Unwanted = func(status int) bool { return status != http.StatusOK }
			return o
		}, forward.ReasonRefused},
		{"a second hop", forward.WhyHeld, func(w *world) frontOptions {
			var back *front
			w.start("a", memberOptions{serve: func(rw http.ResponseWriter, r *http.Request) {
				_, err := back.client.Forward(rw, r, toA(forward.WhyHeld))
				http.Error(rw, fault.From(err).Reason, http.StatusTeapot)
			}})
			back = w.front(frontOptions{})
			o := frontOptions{request: toA(forward.WhyHeld)}
			o.request.Unwanted = func(status int) bool { return status == http.StatusTeapot }
			return o
		}, forward.ReasonRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			o := tc.set(w)
			if o.request.Node == "" {
				o.request = toA(tc.why)
			}
			f := w.front(o)
			status, _, text := f.call("POST", "/v1/mcp/eng", "{}")
			reason := fault.From(<-f.faults).Reason
			// Who is shut out in the handshake may be told by an alert, or find the connection closed.
			shutOut := strings.HasPrefix(tc.name, "this node is") && reason == forward.ReasonLost
			if reason != tc.reason && !shutOut {
				t.Errorf("forwarding fails with %s, want %s", reason, tc.reason)
			}
			if status != http.StatusServiceUnavailable || strings.TrimSpace(text) != reason {
				t.Errorf("the client got %d %q from elsewhere", status, text)
			}
			if got := f.counted(); got[tc.why+" "+strings.ToLower(strings.TrimPrefix(reason, "PEER_"))] != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

// Whatever it is that a node has already, it takes while it drains (M-95).
func TestForwardToADrainingNode(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", memberOptions{serve: func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }})
	a.setDraining(true)
	w.board.put(forward.Node{Name: "a", Address: a.address, Generation: 1, Draining: true})
	for _, why := range []string{forward.WhyAnswer, forward.WhyMessage, forward.WhyResume, forward.WhyHeld} {
		f := w.front(frontOptions{request: toA(why)})
		if status, _, _ := f.call("POST", "/v1/mcp/eng", "{}"); status != http.StatusAccepted {
			t.Errorf("%s: %d, %v", why, status, <-f.faults)
		}
	}
}

// Nobody but a node that marks its requests gets through, whatever it sends.
func TestServerRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", memberOptions{serve: func(http.ResponseWriter, *http.Request) { t.Error("it was served") }})
	for _, role := range []ident.Role{ident.RoleAuthserver, ident.RoleControlPlane} {
		who := workload("b")
		who.Role = role
		client, hangUp := w.dialAs(who)
		if resp, err := client.Get("https://" + a.address + "/v1/mcp/eng"); err == nil { //nolint:noctx // fails at once
			_ = resp.Body.Close()
			t.Errorf("a %s was let in", role)
		}
		hangUp()
	}
	good := map[string]string{
		"Penstock-Forwarded-By": "b", "Penstock-Forward-Reason": "held", "Penstock-Gateway": "g",
		"Penstock-Principal": "eyJraW5kIjoidXNlciIsInVpZCI6InUiLCJtZXRob2QiOiJvYXV0aCIsInNjb3BlcyI6W119", // {"kind":"user","uid":"u","method":"oauth","scopes":[]}
	}
	client, hangUp := w.dialAs(workload("b"))
	defer hangUp()
	for _, tc := range []struct{ name, header, value string }{
		{"no marker", "Penstock-Forwarded-By", ""},
		{"another's marker", "Penstock-Forwarded-By", "c"},
		{"no reason", "Penstock-Forward-Reason", ""},
		{"no gateway", "Penstock-Gateway", ""},
		{"no principal", "Penstock-Principal", ""},
		{"no text", "Penstock-Principal", "!"},
		{"no JSON", "Penstock-Principal", "e30x"},
		{"nobody", "Penstock-Principal", "e30"},                                                            // {}
		{"a field too many", "Penstock-Principal", "eyJraW5kIjoidXNlciIsInVpZCI6InUiLCJyZWFkX29ubHkiOjF9"}, // {"kind":"user","uid":"u","read_only":1}
		{"a token", "Authorization", "Bearer x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+a.address+"/v1/mcp/eng", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range good {
				r.Header.Set(name, value)
			}
			r.Header.Set(tc.header, tc.value)
			if tc.value == "" {
				r.Header.Del(tc.header)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Penstock-Forward-Fault") != forward.ReasonRefused {
				t.Errorf("it gets %d %v", resp.StatusCode, resp.Header)
			}
		})
	}
}

// A ban ends what goes over connections that are older.
func TestBanOfAConnectedPeer(t *testing.T) {
	w := newWorld(t)
	banned := make(chan struct{})
	w.start("a", memberOptions{
		serve: func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) },
		refuse: func(ident.Workload) error {
			select {
			case <-banned:
				return fault.New(fault.Denied, forward.ReasonBanned, "The peer was banned.")
			default:
				return nil
			}
		},
	})
	f := w.front(frontOptions{request: toA(forward.WhyAnswer)})
	if status, _, _ := f.call("POST", "/v1/mcp/eng", "{}"); status != http.StatusAccepted {
		t.Fatalf("before: %d, %v", status, <-f.faults)
	}
	if err := <-f.faults; err != nil {
		t.Error(err)
	}
	close(banned)
	f.call("POST", "/v1/mcp/eng", "{}")
	f.wantFault(forward.ReasonRefused)
}
