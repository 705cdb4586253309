// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Domain is the domain of every google.rpc.ErrorInfo that Penstock sends: the
// reason is unique within it.
const Domain = "penstock"

// Details returns f as google.rpc error details, for gRPC and Connect
// answers: ErrorInfo with the reason, RetryInfo when there is a time to wait,
// BadRequest when fields were refused. The cause is in none of them.
func (f *Fault) Details() []proto.Message {
	list := []proto.Message{&errdetails.ErrorInfo{Reason: f.Reason, Domain: Domain}}
	if f.Retry > 0 {
		list = append(list, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.Retry)})
	}
	if len(f.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, field := range f.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: field.Path, Description: field.Problem,
			})
		}
		list = append(list, bad)
	}
	return list
}

// FromDetails builds the Fault that a peer sent with [Fault.Details]: k comes
// from [KindOfConnect], public from the message of the answer. Details that it
// does not know, and an ErrorInfo of another domain, are left out.
func FromDetails(k Kind, public string, details ...proto.Message) *Fault {
	f := New(k, "", public)
	for _, d := range details {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				f.Reason = d.GetReason()
			}
		case *errdetails.RetryInfo:
			f.Retry = d.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				f.Fields = append(f.Fields, Field{Path: v.GetField(), Problem: v.GetDescription()})
			}
		}
	}
	return f
}
