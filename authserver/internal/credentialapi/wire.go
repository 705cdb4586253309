// SPDX-License-Identifier: Apache-2.0

package credentialapi

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// domain is the domain of every google.rpc.ErrorInfo that Penstock sends.
const domain = "penstock"

// check applies the rules that stand in the message's definition.
func check(m proto.Message) error {
	err := protovalidate.Validate(m)
	if err == nil {
		return nil
	}
	violated, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	// The violation error itself is no cause to keep: it holds the refused values.
	f := fault.New(fault.Invalid, ReasonRequest, "The request breaks the rules of its fields.")
	for _, v := range violated.Violations {
		f = f.At(protovalidate.FieldPathString(v.Proto.GetField()), v.Proto.GetMessage())
	}
	return f
}

// checkGateway says who names the gateway of a connect link: a node the one that the call came to, which it must serve. A control
// plane asks for a person who called nothing.
func checkGateway(asker ident.Workload, gateway string) error {
	problem := ""
	switch node := asker.Role == ident.RoleNode; {
	case node && gateway == "":
		problem = "a node names the gateway that the call came to"
	case !node && gateway != "":
		problem = "a control plane names no gateway: there is no call"
	default:
		return nil
	}
	return fault.New(fault.Invalid, ReasonRequest, "The request breaks the rules of its fields.").At("gateway", problem)
}

// toConnect is the one mapper of this edge. Nothing of a cause is sent.
func toConnect(err error) error {
	f := fault.From(err)
	if f == nil {
		return nil
	}
	c := connect.NewError(connect.Code(f.Kind.ConnectCode()), errors.New(f.Public))
	details := []proto.Message{&errdetails.ErrorInfo{Reason: f.Reason, Domain: domain}}
	if f.Retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.Retry)})
	}
	if len(f.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, field := range f.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: field.Path, Description: field.Problem})
		}
		details = append(details, bad)
	}
	for _, d := range details {
		if detail, err := connect.NewErrorDetail(d); err == nil { // it fails only for messages that cannot be encoded
			c.AddDetail(detail)
		}
	}
	return c
}
