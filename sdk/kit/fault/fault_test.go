// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The rows are the table of style.md, section 5.
func TestKindMapping(t *testing.T) {
	for _, tc := range []struct {
		kind    fault.Kind
		name    string
		code    uint32
		connect string
		status  int
	}{
		{fault.Invalid, "invalid", 3, "invalid_argument", 400},
		{fault.NotFound, "not_found", 5, "not_found", 404},
		{fault.AlreadyExists, "already_exists", 6, "already_exists", 409},
		{fault.Conflict, "conflict", 10, "aborted", 409},
		{fault.Precondition, "precondition", 9, "failed_precondition", 400},
		{fault.Unauthenticated, "unauthenticated", 16, "unauthenticated", 401},
		{fault.Denied, "denied", 7, "permission_denied", 403},
		{fault.Exhausted, "exhausted", 8, "resource_exhausted", 429},
		{fault.Unavailable, "unavailable", 14, "unavailable", 503},
		{fault.Timeout, "timeout", 4, "deadline_exceeded", 504},
		{fault.Canceled, "canceled", 1, "canceled", 499},
		{fault.Stale, "stale", 11, "out_of_range", 400},
		{fault.Bug, "bug", 13, "internal", 500},
		{fault.HeaderMismatch, "header_mismatch", 3, "invalid_argument", 400},
		{fault.MissingCapability, "missing_capability", 3, "invalid_argument", 400},
		{fault.Version, "version", 3, "invalid_argument", 400},
		{fault.Kind(200), "kind(200)", 13, "internal", 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := fmt.Sprintln(tc.kind, tc.kind.ConnectCode(), tc.kind.ConnectName(), tc.kind.HTTPStatus())
			want := fmt.Sprintln(tc.name, tc.code, tc.connect, tc.status)
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestKindOfConnectInverts(t *testing.T) {
	for k := fault.Bug; k <= fault.Stale; k++ {
		if got := fault.KindOfConnect(k.ConnectCode()); got != k {
			t.Errorf("code %d reads as %s, want %s", k.ConnectCode(), got, k)
		}
	}
	for _, code := range []uint32{0, 2, 12, 15, 17} { // ok, unknown, unimplemented, data_loss, no code
		if got := fault.KindOfConnect(code); got != fault.Bug {
			t.Errorf("code %d reads as %s, want bug", code, got)
		}
	}
}

func TestFrom(t *testing.T) {
	mine := fault.New(fault.NotFound, "GATEWAY_NOT_FOUND", "There is no such gateway.")
	inner := fault.New(fault.Unavailable, "STORE_DOWN", "The store is away.")
	for _, tc := range []struct {
		name   string
		err    error
		kind   fault.Kind
		reason string
	}{
		{"a fault", mine, fault.NotFound, "GATEWAY_NOT_FOUND"},
		{"a wrapped fault", fmt.Errorf("load gateway: %w", mine), fault.NotFound, "GATEWAY_NOT_FOUND"},
		{"a joined fault", errors.Join(io.EOF, mine), fault.NotFound, "GATEWAY_NOT_FOUND"},
		{"the outermost of two", mine.Because(inner), fault.NotFound, "GATEWAY_NOT_FOUND"},
		{"a fault because of cancellation stays what it is", inner.Because(context.Canceled), fault.Unavailable, "STORE_DOWN"},
		{"canceled", fmt.Errorf("read: %w", context.Canceled), fault.Canceled, "CANCELED"},
		{"deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), fault.Timeout, "TIMEOUT"},
		{"anything else", io.ErrUnexpectedEOF, fault.Bug, "INTERNAL"},
		{"a nil fault in an interface", error((*fault.Fault)(nil)), fault.Bug, "INTERNAL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := fault.From(tc.err)
			if f.Kind != tc.kind || f.Reason != tc.reason || f.Public == "" {
				t.Errorf("got %s %s %q, want %s %s and a text", f.Kind, f.Reason, f.Public, tc.kind, tc.reason)
			}
			if got := fault.KindOf(tc.err); got != tc.kind {
				t.Errorf("KindOf gives %s, want %s", got, tc.kind)
			}
			if !errors.Is(f, tc.err) && !errors.Is(tc.err, f) { // the second for what From unwrapped
				t.Error("the error is lost")
			}
		})
	}
	if fault.From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
}

func TestUnclassifiedErrorTellsNothing(t *testing.T) {
	f := fault.From(errors.New("pq: password authentication failed for user hunter2"))
	if strings.Contains(f.Public, "hunter2") || !strings.Contains(f.Error(), "hunter2") {
		t.Errorf("public %q, error %q: the cause belongs to the log alone", f.Public, f.Error())
	}
	for _, d := range f.Details() {
		if strings.Contains(fmt.Sprint(d), "hunter2") {
			t.Errorf("detail %v holds the cause", d)
		}
	}
}

func TestSentinel(t *testing.T) {
	sentinel := fault.New(fault.Conflict, "ETAG_STALE", "The resource has changed.")
	a := sentinel.Because(io.EOF).After(time.Second).At("gateway.etag", "is stale")
	b := a.At("gateway.name", "is wrong")
	c := a.At("gateway.uid", "is wrong")

	if !errors.Is(fmt.Errorf("update: %w", a), sentinel) || !errors.Is(a, io.EOF) {
		t.Error("a copy is not the sentinel any more, or lost its cause")
	}
	if errors.Is(a, fault.New(fault.Conflict, "OTHER", "")) || errors.Is(a, fault.New(fault.Invalid, "ETAG_STALE", "")) {
		t.Error("faults of another reason or kind count as equal")
	}
	if sentinel.Unwrap() != nil || sentinel.Retry != 0 || len(sentinel.Fields) != 0 {
		t.Error("the sentinel was written to")
	}
	if b.Fields[1].Path != "gateway.name" || c.Fields[1].Path != "gateway.uid" {
		t.Errorf("copies share fields: %v %v", b.Fields, c.Fields)
	}
	if got, want := a.Error(), "ETAG_STALE: The resource has changed.: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDetailsRoundTrip(t *testing.T) {
	for _, f := range []*fault.Fault{
		fault.New(fault.NotFound, "GATEWAY_NOT_FOUND", "There is no such gateway."),
		fault.New(fault.Exhausted, "RATE_LIMITED", "Too many.").After(1500 * time.Millisecond),
		fault.New(fault.Invalid, "FIELD_INVALID", "Two fields.").At("a.b[1]", "is empty").At("c", "is long"),
	} {
		t.Run(f.Reason, func(t *testing.T) {
			var received []proto.Message
			for _, d := range f.Because(io.EOF).Details() {
				packed, err := anypb.New(d)
				if err != nil {
					t.Fatal(err)
				}
				m, err := packed.UnmarshalNew()
				if err != nil {
					t.Fatal(err)
				}
				received = append(received, m)
			}
			got := fault.FromDetails(fault.KindOfConnect(f.Kind.ConnectCode()), f.Public, received...)
			if diff := cmp.Diff(f, got, cmpopts.IgnoreUnexported(fault.Fault{})); diff != "" {
				t.Errorf("-sent +received\n%s", diff)
			}
		})
	}
	foreign := fault.FromDetails(fault.Denied, "no", &errdetails.ErrorInfo{Reason: "SOMETHING", Domain: "example.com"})
	if foreign.Reason != "" {
		t.Errorf("took the reason %s of a foreign domain", foreign.Reason)
	}
}
