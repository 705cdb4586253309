// SPDX-License-Identifier: Apache-2.0

// Package resourcetest makes resources with every field set, for tests that must miss none.
//
// It owns nothing but these examples. It is called by tests. It must never be linked into a server.
package resourcetest

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Kinds returns the kinds of resources.
func Kinds() []resource.Kind {
	return []resource.Kind{
		resource.KindServer, resource.KindConnection, resource.KindTool, resource.KindGateway, resource.KindTeam, resource.KindUser, resource.KindBearerToken,
		resource.KindIdentityProvider, resource.KindOAuthClient, resource.KindPolicy, resource.KindResultPolicy,
	}
}

// Full returns a resource of a kind with every field set, those of all oneofs too.
func Full(k resource.Kind) resource.Object {
	o, err := resource.New(k)
	if err != nil {
		panic(err)
	}
	fill(reflect.ValueOf(o).Elem())
	return o
}

// Members returns the names of the fields that are set in the JSON form.
func Members(tb testing.TB, o resource.Object) map[string]bool {
	tb.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		tb.Fatal(err)
	}
	out := make(map[string]bool, len(m))
	for name := range m {
		out[name] = true
	}
	return out
}

// fill sets every field of a struct to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v<&>"))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(int64(time.Second))
	case reflect.Uint32:
		v.SetUint(7)
	default:
		panic(v.Kind())
	}
}
