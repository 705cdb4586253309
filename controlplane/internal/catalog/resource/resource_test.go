// SPDX-License-Identifier: Apache-2.0

package resource_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource/resourcetest"
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

// The stored form has everything but metadata, secrets, and what is kept or computed elsewhere.
func TestEncode(t *testing.T) {
	left := map[resource.Kind][]string{
		resource.KindServer: {}, resource.KindConnection: {"secret_env", "secret_headers", "status"}, resource.KindTool: {"definition", "pending_definition"},
		resource.KindGateway: {"status", "tools"}, resource.KindTeam: {}, resource.KindUser: {}, resource.KindBearerToken: {"last_use_time", "sha256", "ttl"},
		resource.KindIdentityProvider: {"client_secret"}, resource.KindOAuthClient: {},
	}
	for _, k := range resourcetest.Kinds() {
		t.Run(string(k), func(t *testing.T) {
			o := resourcetest.Full(k)
			full := resourcetest.Members(t, o)
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
			if d := cmp.Diff(want, resourcetest.Members(t, back)); d != "" {
				t.Errorf("stored fields (-want +got):\n%s", d)
			}
			if strings.Contains(string(body), "\\u003c") || !strings.Contains(string(body), "v<&>") {
				t.Errorf("escaped: %s", body)
			}
			if d := cmp.Diff(full, resourcetest.Members(t, o)); d != "" {
				t.Errorf("encoding changed the resource:\n%s", d)
			}
		})
	}
}

// A copy has everything and shares nothing.
func TestClone(t *testing.T) {
	for _, k := range resourcetest.Kinds() {
		o := resourcetest.Full(k)
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
