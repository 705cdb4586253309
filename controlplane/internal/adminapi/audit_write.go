// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi/port"
	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxFields bounds the names of fields in one event.
const maxFields = 100

// auditing records each call that writes, whatever came of it: who, which method, which resource, the names of the fields, never their
// values. Calls that only try something out write nothing, and are not recorded.
func auditing(a Audit) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			m, isMessage := req.Any().(proto.Message)
			if a == nil || !isMessage || req.Spec().IdempotencyLevel == connect.IdempotencyNoSideEffects || triesOut(m) {
				return next(ctx, req)
			}
			e := audit.Event{
				Time: time.Now(), Source: audit.Admin, Principal: principal(callerOf(ctx)), Outcome: audit.OutcomeOK,
				RequestID: port.RequestID(ctx), Write: written(req.Spec().Procedure, m),
			}
			if s := trace.SpanContextFromContext(ctx); s.HasTraceID() {
				e.TraceID = s.TraceID().String()
			}
			res, err := next(ctx, req)
			if err != nil {
				e.Outcome, e.Reason = failure(err)
			} else if m, ok := res.Any().(proto.Message); ok {
				e.Revision = revisionOf(m)
				if e.Write.Name == "" {
					e.Write.Name = subjectOf(m)
				}
			}
			a.Record(ctx, e)
			return res, err
		}
	}
}

func principal(c catalog.Caller) audit.Principal {
	if c.System {
		return audit.Principal{Kind: "system", Name: "system"}
	}
	return audit.Principal{Kind: "user", UID: c.UserUID, Name: c.Email, AuthMethod: "bearer_token", TokenID: c.TokenName}
}

// failure says whether a write was refused for what the caller asked, or failed for what the control plane lacked.
func failure(err error) (outcome, reason string) {
	f := fault.From(err)
	switch f.Kind {
	case fault.Bug, fault.Unavailable, fault.Timeout, fault.Canceled:
		return audit.OutcomeFault, f.Reason
	default:
		return audit.OutcomeRefused, f.Reason
	}
}

// triesOut reports whether a request asks for a write that is not made, or says itself that it makes none.
func triesOut(m proto.Message) bool {
	for _, name := range []protoreflect.Name{"validate_only", "dry_run"} {
		if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f != nil && f.Kind() == protoreflect.BoolKind && m.ProtoReflect().Get(f).Bool() {
			return true
		}
	}
	return false
}

// written describes a request.
func written(procedure string, m proto.Message) *audit.Write {
	w := &audit.Write{Method: procedure[strings.LastIndexByte(procedure, '/')+1:]}
	verb := strings.IndexFunc(w.Method[1:], unicode.IsUpper)
	if service := procedure[:strings.LastIndexByte(procedure, '/')]; verb >= 0 && strings.Contains(service, w.Method[verb+1:]+"Service") {
		w.Kind = w.Method[verb+1:]
	}
	w.Name = subjectOf(m)
	w.Fields = fieldsOf(m.ProtoReflect())
	return w
}

// subjectOf is the name of the resource in a message: its own, or that of the one resource that it holds.
func subjectOf(m proto.Message) string {
	r := m.ProtoReflect()
	if f := r.Descriptor().Fields().ByName("name"); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() {
		return r.Get(f).String()
	}
	name := ""
	r.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.MessageKind || f.IsList() || f.IsMap() {
			return true
		}
		inner := v.Message().Descriptor().Fields().ByName("name")
		if inner != nil && inner.Kind() == protoreflect.StringKind && !inner.IsList() {
			name = v.Message().Get(inner).String()
		}
		return name == ""
	})
	return name
}

// fieldsOf are the names of the fields that a request sets: those of its mask, else those of the resource in it, else its own.
func fieldsOf(r protoreflect.Message) (names []string) {
	if f := r.Descriptor().Fields().ByName("update_mask"); f != nil && r.Has(f) {
		paths := r.Get(f).Message()
		list := paths.Get(paths.Descriptor().Fields().ByName("paths")).List()
		for i := range min(list.Len(), maxFields) {
			names = append(names, list.Get(i).String())
		}
		return names
	}
	r.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && v.Message().Descriptor().Fields().ByName("name") != nil {
			v.Message().Range(func(inner protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				names = append(names, string(inner.Name()))
				return len(names) < maxFields
			})
			return true
		}
		names = append(names, string(f.Name()))
		return len(names) < maxFields
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// revisionOf is the revision that a write made.
func revisionOf(m proto.Message) uint64 {
	f := m.ProtoReflect().Descriptor().Fields().ByName("revision")
	if f == nil || f.Kind() != protoreflect.Uint64Kind {
		return 0
	}
	return m.ProtoReflect().Get(f).Uint()
}
