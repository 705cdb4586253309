// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxNamed is how many refused fields the public text names; all of them are in the details.
const maxNamed = 5

// NewInterceptor returns the interceptor that checks requests against the rules of the contracts: a request that breaks one ends as
// a fault of kind Invalid with reason REQUEST_INVALID, whose fields are the broken ones. connectrpc.com/validate is not used
// because its answer has neither our reason nor BadRequest details.
func NewInterceptor() (connect.UnaryInterceptorFunc, error) {
	v, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("make validator: %w", err)
	}
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if m, ok := req.Any().(proto.Message); ok {
				if path, found := unknown(m.ProtoReflect()); found {
					return nil, fault.New(fault.Invalid, "FIELD_UNKNOWN",
						"The request has a field that this version does not know; the client is newer than the control plane.").
						At(cmp.Or(path, "request"), "has an unknown field")
				}
				if err := invalid(m, v.Validate(m)); err != nil {
					return nil, err
				}
			}
			return next(ctx, req)
		}
	}, nil
}

// unknown returns the path of a message that holds fields this version does not know, "" for the request itself. They come from
// clients with a newer contract, and dropping them would leave something unenforced that its writer believes in.
func unknown(m protoreflect.Message) (path string, found bool) {
	if len(m.GetUnknown()) > 0 {
		return "", true
	}
	inside := func(at string, m protoreflect.Message) {
		if path, found = unknown(m); found {
			path = strings.TrimSuffix(at+"."+path, ".")
		}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind || f.IsMap(): // maps of the contracts hold strings
		case f.IsList():
			for i := 0; i < v.List().Len() && !found; i++ {
				inside(fmt.Sprintf("%s[%d]", f.Name(), i), v.List().Get(i).Message())
			}
		default:
			inside(string(f.Name()), v.Message())
		}
		return !found
	})
	return path, found
}

// invalid turns violations into a fault that names each field; nil if nothing is left to complain about.
func invalid(m proto.Message, err error) error {
	if err == nil {
		return nil
	}
	violations, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate request: %w", err) // a rule that does not compile: a bug
	}
	f := fault.New(fault.Invalid, "REQUEST_INVALID", "")
	var named []string
	for _, v := range violations.Violations {
		if !concerns(m.ProtoReflect(), v.Proto.GetField().GetElements()) {
			continue
		}
		path := protovalidate.FieldPathString(v.Proto.GetField())
		if path == "" {
			path = "request"
		}
		text := problem(v)
		f = f.At(path, text)
		named = append(named, path+": "+text)
	}
	if len(named) == 0 {
		return nil
	}
	more := ""
	if len(named) > maxNamed {
		more = fmt.Sprintf(" (and %d more)", len(named)-maxNamed)
		named = named[:maxNamed]
	}
	f.Public = "The request is not valid: " + strings.Join(named, "; ") + more + "."
	return f
}

// concerns reports whether a violation is about something that the request asks for. The rules describe whole resources, but an
// update with a mask holds a part of one: what the mask leaves out may be missing.
func concerns(m protoreflect.Message, path []*validate.FieldPathElement) bool {
	masks := m.Descriptor().Fields().ByName("update_mask")
	if masks == nil || len(path) < 2 {
		return true
	}
	resource := m.Descriptor().Fields().ByName(protoreflect.Name(path[0].GetFieldName()))
	if resource == nil || resource.Kind() != protoreflect.MessageKind || resource.IsList() {
		return true
	}
	field := path[1].GetFieldName()
	if field == "name" || field == "etag" {
		return true
	}
	paths := maskOf(m.Get(masks).Message())
	if len(paths) == 0 { // every field that is set
		d := resource.Message().Fields().ByName(protoreflect.Name(field))
		return d != nil && m.Get(resource).Message().Has(d)
	}
	return slices.ContainsFunc(paths, func(p string) bool {
		return p == "*" || p == field || strings.HasPrefix(p, field+".")
	})
}

func maskOf(m protoreflect.Message) []string {
	mask, _ := m.Interface().(*fieldmaskpb.FieldMask)
	return mask.GetPaths()
}

// problem says what is wrong with a field in words; a pattern explains itself to nobody.
func problem(v *protovalidate.Violation) string {
	if v.Proto.GetRuleId() != "string.pattern" {
		return strings.TrimSuffix(v.Proto.GetMessage(), ".")
	}
	switch pattern := v.RuleValue.String(); {
	case strings.Contains(pattern, "a-z0-9-"):
		return "must be a slug: lower-case letters, digits and inner hyphens, beginning and ending with a letter or digit"
	case strings.Contains(pattern, "@"):
		return "must be an e-mail address"
	case strings.HasPrefix(pattern, "^[A-Za-z_]["):
		return "must be the name of an environment variable: letters, digits and underscores, not beginning with a digit"
	case pattern == "^[A-Za-z0-9_-]*$":
		return "must have letters, digits, underscores and hyphens only"
	default:
		return "must match " + pattern
	}
}
