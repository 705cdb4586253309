// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60s": time.Minute, "0s": 0, "0.500s": 500 * time.Millisecond, "1.000340s": time.Second + 340*time.Microsecond, "1.000000012s": time.Second + 12,
		"-1.500s": -1500 * time.Millisecond, "-0.500s": -500 * time.Millisecond,
	} {
		var d resource.Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s is read as %v, %v", text, time.Duration(d), err)
		}
		if b, err := json.Marshal(resource.Duration(want)); err != nil || string(b) != `"`+text+`"` {
			t.Errorf("%v is written as %s, %v", want, b, err)
		}
	}
	for _, text := range []string{`"60"`, `60`, `"1m"`, `"1m0s"`, `"1ms"`, `"s"`, `""`, `"1µs"`} {
		var d resource.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s is read as %v", text, time.Duration(d))
		}
	}
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

func kinds() []resource.Kind {
	return []resource.Kind{
		resource.KindServer, resource.KindConnection, resource.KindTool, resource.KindGateway, resource.KindTeam, resource.KindUser, resource.KindBearerToken,
	}
}

// The stored form has everything but metadata, secrets, and what is kept or computed elsewhere.
func TestEncode(t *testing.T) {
	left := map[resource.Kind][]string{
		resource.KindServer: {}, resource.KindConnection: {"secret_env", "secret_headers", "status"}, resource.KindTool: {"definition", "pending_definition"},
		resource.KindGateway: {"status", "tools"}, resource.KindTeam: {}, resource.KindUser: {}, resource.KindBearerToken: {"last_use_time", "sha256", "ttl"},
	}
	for _, k := range kinds() {
		t.Run(string(k), func(t *testing.T) {
			o, err := resource.New(k)
			if err != nil {
				t.Fatal(err)
			}
			fill(reflect.ValueOf(o).Elem())
			full := members(t, o)
			body, err := resource.Encode(o)
			if err != nil {
				t.Fatal(err)
			}
			again, err := resource.Encode(o)
			if err != nil || string(body) != string(again) {
				t.Errorf("encoded twice: %s and %s, %v", body, again, err)
			}
			want := make(map[string]bool)
			for name := range full {
				want[name] = true
			}
			for _, name := range append(left[k], "name", "uid", "etag", "create_time", "update_time") {
				if !full[name] {
					t.Errorf("there is no field %s to leave out", name)
				}
				delete(want, name)
			}
			back, err := resource.Decode(k, body)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, members(t, back)); d != "" {
				t.Errorf("stored fields (-want +got):\n%s", d)
			}
			if strings.Contains(string(body), "\\u003c") || !strings.Contains(string(body), "v<&>") {
				t.Errorf("escaped: %s", body)
			}
			if d := cmp.Diff(full, members(t, o)); d != "" {
				t.Errorf("encoding changed the resource:\n%s", d)
			}
		})
	}
}

func members(t *testing.T, o resource.Object) map[string]bool {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool, len(m))
	for name := range m {
		out[name] = true
	}
	return out
}

// A copy has everything and shares nothing.
func TestClone(t *testing.T) {
	for _, k := range kinds() {
		o, _ := resource.New(k)
		fill(reflect.ValueOf(o).Elem())
		c, err := resource.Clone(o)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(o, c); d != "" {
			t.Errorf("%s (-original +copy):\n%s", k, d)
		}
		c.Metadata().Labels["k"] = "changed"
		if o.Metadata().Labels["k"] == "changed" {
			t.Errorf("the copy of a %s shares its labels", k)
		}
	}
}

// A manifest has no field that only the control plane writes.
func TestStrip(t *testing.T) {
	for _, k := range kinds() {
		o, _ := resource.New(k)
		fill(reflect.ValueOf(o).Elem())
		resource.Strip(o)
		changed, err := resource.Changed(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		got := members(t, o)
		if len(got) != len(changed)+1 || !got["name"] { // and the name
			t.Errorf("%s keeps %v; writable are %v", k, got, changed)
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"display_name", "description", "stdio", "labels"}
	for name, want := range map[string]string{
		"display_nam": "display_name", "displayname": "display_name", "desciption": "description", "label": "labels", "xyz": "", "studio": "stdio",
	} {
		got := resource.Suggest(name, names)
		if want != "" && !strings.Contains(got, `"`+want+`"`) || want == "" && got != "" {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

func TestFilterProblem(t *testing.T) {
	for _, tc := range []struct {
		kind resource.Kind
		path string
		want string // part of the problem, empty for none
	}{
		{resource.KindServer, "name", ""},
		{resource.KindServer, "uid", ""},
		{resource.KindServer, "labels.any.key", ""},
		{resource.KindServer, "streamable_http.url", ""},
		{resource.KindServer, "tool_changes", ""},
		{resource.KindServer, "stateless", "not a text"},
		{resource.KindServer, "labels", "not a text"},
		{resource.KindServer, "stdio.env.HOME", ""},
		{resource.KindServer, "display_nam", "did you mean"},
		{resource.KindServer, "name.x", "without fields"},
		{resource.KindServer, "Meta", "no field"},
		{resource.KindTool, "server", ""},
		{resource.KindGateway, "visibility.personal.owner", ""},
		{resource.KindGateway, "visibility.organization", "not a text"},
		{resource.KindGateway, "tools.tool", "without fields"},
		{"planet", "name", "not a kind"},
	} {
		got := resource.FilterProblem(tc.kind, tc.path)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %q; want %q", tc.kind, tc.path, got, tc.want)
		}
	}
	s := &resource.Server{Stdio: &resource.Stdio{Env: map[string]string{"A.B": "x"}}}
	for path, want := range map[string]string{"stdio.env.A.B": "x", "streamable_http.url": "", "name": "", "stdio.command": ""} {
		if got := resource.Text(s, path); got != want {
			t.Errorf("text at %s is %q", path, got)
		}
	}
}
