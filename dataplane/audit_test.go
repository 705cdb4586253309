// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
)

// TestEventsOf: a request with the events as they were kept is on the wire what one of events is.
func TestEventsOf(t *testing.T) {
	want := &nodev1.UploadAuditRequest{Queue: "q", FirstSequence: 7, Events: []*nodev1.ToolCallEvent{
		{Gateway: "eng", Tool: "github/search", Principal: &nodev1.AuditPrincipal{Kind: "user", Uid: "u-1"}},
		{},
		{RequestedName: strings.Repeat("x", 300), Revision: 1 << 40},
	}}
	var kept [][]byte
	for _, e := range want.GetEvents() {
		raw, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, raw)
	}
	sent := &nodev1.UploadAuditRequest{Queue: "q", FirstSequence: 7}
	sent.ProtoReflect().SetUnknown(eventsOf(kept))
	raw, err := proto.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	got := &nodev1.UploadAuditRequest{}
	if err := proto.Unmarshal(raw, got); err != nil || !proto.Equal(got, want) || len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}
