// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// encoder makes messages of events. It is one goroutine's.
type encoder struct {
	message   nodev1.ToolCallEvent
	principal nodev1.AuditPrincipal
	time      timestamppb.Timestamp
	room      []byte
}

// fill makes the message of an event, which is good until the next.
func (c *encoder) fill(e *taken) *nodev1.ToolCallEvent {
	c.time.Seconds, c.time.Nanos = e.Time.Unix(), int32(e.Time.Nanosecond())
	p := &c.principal
	p.Kind, p.Uid, p.Name = string(e.Principal.Kind), clip(e.Principal.UID, 64), clip(e.Principal.Name, 320)
	p.AuthMethod, p.TokenId, p.ClientId = e.Principal.Method, clip(e.Principal.TokenID, 256), clip(e.Principal.ClientID, 2048)
	m := &c.message
	m.Time, m.Principal, m.Gateway, m.GatewayUid = &c.time, p, e.Gateway, e.GatewayUID
	if m.Tool = e.Tool; m.Tool == "" {
		m.Tool = e.Upstream
		if e.Server != "" {
			m.Tool = e.Server + "/" + e.Upstream
		}
	}
	m.RequestedName, m.Door = clip(e.Requested, 256), "direct"
	if e.RunTool {
		m.Door = "run_tool"
	}
	m.Server, m.Connection, m.ConnectionOwner = e.Server, e.Connection, owner(e.OwnerKind, e.Owner)
	m.Outcome, m.Reason, m.Policy, m.PolicyAction = e.Outcome, e.Reason, e.Policy, e.Action
	m.GatewayUs, m.CredentialUs, m.UpstreamUs = e.InGateway.Microseconds(), e.OnCredential.Microseconds(), e.OnUpstream.Microseconds()
	m.RequestBytes, m.ResponseBytes, m.Revision = e.RequestBytes, e.ResponseBytes, e.Revision
	if m.TraceId = ""; e.TraceID != [16]byte{} {
		m.TraceId = hex.EncodeToString(e.TraceID[:])
	}
	m.RequestId, m.ClientName, m.ClientVersion = e.RequestID, clip(e.ClientName, 128), clip(e.ClientVersion, 128)
	m.ProtocolVersion, m.DroppedBefore = string(e.Version), e.dropped
	return m
}

// clip bounds text that comes from outside: of clients, and of identity providers. The bounds are those of penstock.node.v1.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// owner is who a connection belongs to, as people and the control plane write it.
func owner(kind compile.OwnerKind, name string) string {
	switch kind {
	case compile.OwnerTeam:
		return "team:" + name
	case compile.OwnerOrganization:
		return "organization"
	case compile.OwnerServiceAccount:
		return "service_account:" + name
	case compile.OwnerUser:
		return name
	}
	return ""
}

// appendTo appends the record of an event.
func (c *encoder) appendTo(b []byte, e *taken) ([]byte, error) {
	var err error
	c.room, err = proto.MarshalOptions{}.MarshalAppend(c.room[:0], c.fill(e))
	if err != nil {
		return b, err
	}
	return appendRecord(b, c.room), nil
}

// appendLine appends an event as a line of JSON, with the names of penstock.node.v1 and the node's own.
func (c *encoder) appendLine(b []byte, e *taken, node string) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(c.fill(e))
	if err != nil {
		return b, err
	}
	name, err := json.Marshal(node)
	if err != nil {
		return b, err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil { // the library puts blanks in at random
		return b, err
	}
	b = append(append(append(b, `{"node":`...), name...), ',') // an event always has members
	return append(append(b, line.Bytes()[1:]...), '\n'), nil
}
