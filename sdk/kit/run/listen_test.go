// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestListenTakesAFreePort(t *testing.T) {
	l, err := Listen("127.0.0.1:0", "edge.listen")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, port, _ := net.SplitHostPort(l.Addr().String()); port == "0" {
		t.Errorf("listens on %s", l.Addr())
	}
}

// Architecture section 2: a port in use names the port and the setting.
func TestListenRefuses(t *testing.T) {
	taken, err := Listen("127.0.0.1:0", "edge.listen")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())

	for _, tc := range []struct {
		name, addr, reason string
		kind               fault.Kind
		says               []string
	}{
		{"port in use", taken.Addr().String(), ReasonPortInUse, fault.Precondition, []string{port, "127.0.0.1", "edge.listen", "PENSTOCK_PORT_OFFSET"}},
		{"address of another machine", "192.0.2.1:0", ReasonAddressUnknown, fault.Precondition, []string{"192.0.2.1", "edge.listen"}},
		{"no port", "127.0.0.1", ReasonAddressInvalid, fault.Invalid, []string{"edge.listen", "host:port"}},
		{"named port", "127.0.0.1:http", ReasonAddressInvalid, fault.Invalid, []string{"edge.listen", "host:port"}},
		{"port too large", "127.0.0.1:65536", ReasonAddressInvalid, fault.Invalid, []string{"edge.listen", "host:port"}},
		{"unknown host", "nowhere.invalid:0", ReasonAddressInvalid, fault.Invalid, []string{"edge.listen"}},
		{"empty", "", ReasonAddressInvalid, fault.Invalid, []string{"edge.listen", "host:port"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := Listen(tc.addr, "edge.listen")
			if err == nil {
				_ = l.Close()
				t.Fatal("listens")
			}
			f := fault.From(err)
			if f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("got %s %s, want %s %s", f.Kind, f.Reason, tc.kind, tc.reason)
			}
			for _, s := range tc.says {
				if !strings.Contains(f.Public, s) {
					t.Errorf("%q does not say %q", f.Public, s)
				}
			}
			if len(f.Fields) != 1 || f.Fields[0].Path != "edge.listen" {
				t.Errorf("fields %v", f.Fields)
			}
		})
	}
}

// The kernel refuses low ports only to some users, and tests run as any.
func TestRefusalOfALowPort(t *testing.T) {
	err := refusal(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}, "", "80", "edge.listen")
	f := fault.From(err)
	if f.Kind != fault.Precondition || f.Reason != ReasonPortDenied || !errors.Is(err, syscall.EACCES) {
		t.Errorf("got %v", err)
	}
	if want := "This user may not listen on port 80: set edge.listen to a port above 1023."; f.Public != want {
		t.Errorf("got %q, want %q", f.Public, want)
	}
}
