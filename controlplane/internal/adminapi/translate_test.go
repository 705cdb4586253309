// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// filled is a value for every type of field; which oneof member and which enum value a message gets depends on the round, so
// that all rounds together see each of them.
type filled struct {
	round  int
	serial int
}

func (f *filled) text() string {
	f.serial++
	return fmt.Sprintf("é\"<%d>\n", f.serial)
}

func (f *filled) message(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		proto.Merge(v, timestamppb.New(time.Date(2026, 11, 22, 1, 2, 3, 456_000_000+f.round, time.UTC)))
		return
	case *durationpb.Duration:
		proto.Merge(v, durationpb.New([]time.Duration{time.Minute, 1500 * time.Millisecond, 1, 365 * 24 * time.Hour}[f.round%4]))
		return
	case *structpb.Struct:
		s, _ := structpb.NewStruct(map[string]any{"a": []any{1.5, "x", nil, true}, "b": map[string]any{"c": f.text()}})
		proto.Merge(v, s)
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if o := fd.ContainingOneof(); o != nil && o.Fields().Get(f.round%o.Fields().Len()) != fd {
			continue
		}
		f.field(m, fd)
	}
}

func (f *filled) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	switch {
	case fd.IsMap():
		entries := m.Mutable(fd).Map()
		for range 2 {
			entries.Set(protoreflect.ValueOfString(f.text()).MapKey(), protoreflect.ValueOfString(f.text()))
		}
	case fd.IsList():
		list := m.Mutable(fd).List()
		for range 2 {
			if fd.Kind() == protoreflect.MessageKind {
				f.message(list.AppendMutable().Message())
				continue
			}
			list.Append(f.scalar(fd))
		}
	case fd.Kind() == protoreflect.MessageKind:
		f.message(m.Mutable(fd).Message())
	default:
		m.Set(fd, f.scalar(fd))
	}
}

func (f *filled) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(f.text())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 0xff, byte(f.round)})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(4_294_967_295 - uint32(f.round))
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(1 + f.round%(values.Len()-1)).Number())
	default:
		panic("no value for a field of kind " + fd.Kind().String())
	}
}

// resources are the messages that the domain mirrors.
func resources() []proto.Message {
	return []proto.Message{
		&resourcev1.Server{}, &resourcev1.Connection{}, &resourcev1.Tool{}, &resourcev1.Gateway{}, &resourcev1.Team{},
		&resourcev1.User{}, &resourcev1.BearerToken{}, &resourcev1.IdentityProvider{}, &resourcev1.OAuthClient{},
		&resourcev1.Policy{},
		&resourcev1.ResultPolicy{},
	}
}

// back is toProto for a message type that is known only at run time.
func back(o catalog.Object) (proto.Message, error) {
	switch o.(type) {
	case *catalog.Server:
		return toProto[*resourcev1.Server](o)
	case *catalog.Connection:
		return toProto[*resourcev1.Connection](o)
	case *catalog.Tool:
		return toProto[*resourcev1.Tool](o)
	case *catalog.Gateway:
		return toProto[*resourcev1.Gateway](o)
	case *catalog.Team:
		return toProto[*resourcev1.Team](o)
	case *catalog.User:
		return toProto[*resourcev1.User](o)
	case *catalog.BearerToken:
		return toProto[*resourcev1.BearerToken](o)
	case *catalog.IdentityProvider:
		return toProto[*resourcev1.IdentityProvider](o)
	case *catalog.OAuthClient:
		return toProto[*resourcev1.OAuthClient](o)
	case *catalog.Policy:
		return toProto[*resourcev1.Policy](o)
	case *catalog.ResultPolicy:
		return toProto[*resourcev1.ResultPolicy](o)
	default:
		return nil, fmt.Errorf("%T is no resource", o)
	}
}

// TestTranslation fills every field of every resource message, also every member of each oneof and every enum value, and wants
// it back unchanged from the domain: a field that one side lacks, or spells otherwise, fails here.
func TestTranslation(t *testing.T) {
	for _, r := range resources() {
		for round := range 12 {
			t.Run(fmt.Sprintf("%s/%d", r.ProtoReflect().Descriptor().Name(), round), func(t *testing.T) {
				want := r.ProtoReflect().New()
				(&filled{round: round}).message(want)
				o, err := toDomain(want.Interface())
				if err != nil {
					t.Fatal(err)
				}
				got, err := back(o)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want.Interface(), got, protocmp.Transform()); diff != "" {
					t.Errorf("message → domain → message (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestTranslationOfDefaults: what is not set stays not set.
func TestTranslationOfDefaults(t *testing.T) {
	for _, r := range resources() {
		o, err := toDomain(r)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := json.Marshal(o); err != nil || string(body) != "{}" {
			t.Errorf("%s: got %s, %v; want {}", r.ProtoReflect().Descriptor().Name(), body, err)
		}
		if got, err := back(o); err != nil || proto.Size(got) != 0 {
			t.Errorf("%s: got %v, %v; want an empty message", r.ProtoReflect().Descriptor().Name(), got, err)
		}
	}
}

// TestDomainHasNoFieldOfItsOwn: the other direction, over the domain's structs; a field without a place in the message fails.
func TestDomainHasNoFieldOfItsOwn(t *testing.T) {
	for _, r := range resources() {
		kind, err := kindOf(r)
		if err != nil {
			t.Fatal(err)
		}
		o, err := catalog.NewObject(kind)
		if err != nil {
			t.Fatal(err)
		}
		jsonFields(reflect.TypeOf(o).Elem(), r.ProtoReflect().Descriptor(), func(field string, d protoreflect.MessageDescriptor) {
			// Tools share the metadata of the others but have no labels: nobody writes them.
			if d.Fields().ByName(protoreflect.Name(field)) == nil && string(d.Name())+"."+field != "Tool.labels" {
				t.Errorf("%s has no field %q", d.Name(), field)
			}
		})
	}
}

// jsonFields calls check with the JSON name of each field of a struct and of the structs inside, beside their message.
func jsonFields(s reflect.Type, d protoreflect.MessageDescriptor, check func(string, protoreflect.MessageDescriptor)) {
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Anonymous {
			jsonFields(f.Type, d, check)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		check(name, d)
		inner := f.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		fd := d.Fields().ByName(protoreflect.Name(name))
		if inner.Kind() == reflect.Struct && fd != nil && fd.Kind() == protoreflect.MessageKind && !fd.IsMap() &&
			strings.HasPrefix(string(fd.Message().FullName()), "penstock.") {
			jsonFields(inner, fd.Message(), check)
		}
	}
}
