// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstockhq/penstock/dataplane/internal/audit"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/run"
	"github.com/penstockhq/penstock/sdk/node"
)

// AuditSettings say what a node keeps of tool calls until the control plane has it (G-60).
type AuditSettings struct {
	Full     string    `name:"full" default:"drop" enum:"drop,block" help:"what a full queue does: drop loses events and counts them, block refuses calls of tools"`
	MaxBytes conf.Size `name:"max_bytes" default:"256MiB" help:"most that waits in the data folder for the control plane"`
	File     string    `name:"file" help:"file that gets every event as a line of JSON, too; empty is none"`
	FileSize conf.Size `name:"file_size" default:"100MiB" help:"size at which that file is rotated; five older ones are kept"`
}

// Least sizes: an event is about 400 bytes.
const (
	leastQueue = 64 << 10
	leastFile  = 64 << 10
)

func (a AuditSettings) problems(f *fault.Fault) *fault.Fault {
	if a.Full != "" && a.Full != string(audit.Drop) && a.Full != string(audit.Block) {
		f = f.At("audit.full", "is neither drop nor block")
	}
	if a.MaxBytes < leastQueue && a != (AuditSettings{}) {
		f = f.At("audit.max_bytes", "is less than 64KiB")
	}
	if a.File != "" && a.FileSize < leastFile {
		f = f.At("audit.file_size", "is less than 64KiB")
	}
	return f
}

// orDefault is for nodes that were made without kit/conf.
func (a AuditSettings) orDefault() AuditSettings {
	if a == (AuditSettings{}) {
		a.Full, a.MaxBytes = string(audit.Drop), 256<<20
	}
	return a
}

// flushTimeout is how long a node that stops waits for the control plane to take what it has recorded: the rest stays in the queue.
const flushTimeout = 5 * time.Second

// openAudit makes what records tool calls.
func (n *Node) openAudit(r *rooms, name string, closers *run.Closers) (err error) {
	a := n.c.Audit.orDefault()
	// Opening logs what an earlier process left behind; there is nothing to cancel.
	r.audit, err = audit.Open(context.Background(), audit.Config{
		Dir: filepath.Join(n.c.Data.Dir, "audit"), MaxBytes: int64(a.MaxBytes), Full: audit.Full(a.Full), File: a.File, FileSize: int64(a.FileSize),
		Node: name, Sender: auditSender{r.follower}, Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter.Meter(tracerName),
	})
	if err != nil {
		return err
	}
	closers.Add("audit", func(context.Context) error { return r.audit.Close() })
	return nil
}

// flushAudit hands in what was recorded before the stream to the control plane ends.
func (n *Node) flushAudit(ctx context.Context, a *audit.Recorder) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	a.Flush(ctx)
}

// auditSender hands events to the control plane that the node follows.
type auditSender struct{ follower *node.Client }

// SendAudit implements audit.Sender.
func (s auditSender) SendAudit(ctx context.Context, b audit.Batch) error {
	m := &nodev1.UploadAuditRequest{Queue: b.Queue, FirstSequence: b.First}
	// The queue has the events in the form of the wire already, with a checksum each: they go out as they are, in the place of the
	// field that they are of.
	m.ProtoReflect().SetUnknown(eventsOf(b.Events))
	_, err := s.follower.AuditService().UploadAudit(ctx, m)
	if status.Code(err) == codes.InvalidArgument {
		return fault.New(fault.Invalid, "AUDIT_EVENT_REFUSED", "The control plane does not take these events.").Because(err)
	}
	if err != nil {
		return fmt.Errorf("hand in audit events: %w", err)
	}
	return nil
}

// eventsOf returns the field events of an UploadAuditRequest as it is on the wire.
func eventsOf(events [][]byte) []byte {
	field := (*nodev1.UploadAuditRequest)(nil).ProtoReflect().Descriptor().Fields().ByName("events").Number()
	size := 0
	for _, e := range events {
		size += protowire.SizeTag(field) + protowire.SizeBytes(len(e))
	}
	raw := make([]byte, 0, size)
	for _, e := range events {
		raw = protowire.AppendBytes(protowire.AppendTag(raw, field, protowire.BytesType), e)
	}
	return raw
}
