// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// kindOf returns the domain's kind of a resource message.
func kindOf(m proto.Message) (catalog.Kind, error) {
	switch m.(type) {
	case *resourcev1.Server:
		return catalog.KindServer, nil
	case *resourcev1.Connection:
		return catalog.KindConnection, nil
	case *resourcev1.Tool:
		return catalog.KindTool, nil
	case *resourcev1.Gateway:
		return catalog.KindGateway, nil
	case *resourcev1.Team:
		return catalog.KindTeam, nil
	case *resourcev1.User:
		return catalog.KindUser, nil
	case *resourcev1.BearerToken:
		return catalog.KindBearerToken, nil
	case *resourcev1.IdentityProvider:
		return catalog.KindIdentityProvider, nil
	case *resourcev1.OAuthClient:
		return catalog.KindOAuthClient, nil
	case *resourcev1.Policy:
		return catalog.KindPolicy, nil
	case *resourcev1.ResultPolicy:
		return catalog.KindResultPolicy, nil
	default:
		return "", fmt.Errorf("%s is no resource", m.ProtoReflect().Descriptor().FullName())
	}
}

// toDomain turns a resource message into the domain's struct, through the JSON form that both share. A field that the domain
// does not know is an error, so that nothing is ever dropped silently.
func toDomain(m proto.Message) (catalog.Object, error) {
	kind, err := kindOf(m)
	if err != nil {
		return nil, err
	}
	o, err := catalog.NewObject(kind)
	if err != nil {
		return nil, err
	}
	loose, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, loose); err != nil { // protojson's white space is random, and raw parts are stored
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	d := json.NewDecoder(&body)
	d.DisallowUnknownFields()
	if err := d.Decode(o); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	return o, nil
}

// toProto turns a domain object into its message.
func toProto[M proto.Message](o catalog.Object) (M, error) {
	var m M
	m, ok := m.ProtoReflect().New().Interface().(M)
	if !ok {
		return m, fmt.Errorf("encode %s: not a generated message", o.Kind())
	}
	body, err := json.Marshal(o)
	if err != nil {
		return m, fmt.Errorf("encode %s: %w", o.Kind(), err)
	}
	if err := protojson.Unmarshal(body, m); err != nil {
		return m, fmt.Errorf("encode %s: %w", o.Kind(), err)
	}
	return m, nil
}

// setFields returns the fields of a message that are set, as an update without a mask means them; not its name and etag, which
// say what to update.
func setFields(m protoreflect.Message) []string {
	paths := []string{}
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Name() != "name" && f.Name() != "etag" {
			paths = append(paths, string(f.Name()))
		}
		return true
	})
	return paths
}
