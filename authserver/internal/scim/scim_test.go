// SPDX-License-Identifier: Apache-2.0

package scim_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/scim"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestEntraUser is SC-1 and SC-2 with the bodies that Entra sends.
func TestEntraUser(t *testing.T) {
	for _, disable := range []string{"entra-disable-user.json", "entra-disable-user-list.json", "okta-disable-user.json"} {
		t.Run(disable, func(t *testing.T) {
			w := newWorld(t)
			if got := w.send("GET", `/Users?filter=userName+eq+%22nina%40example.com%22`, ""); got.Status != 200 || got.Body["totalResults"] != 0.0 || got.Body["Resources"] == nil {
				t.Errorf("before: %+v", got)
			}
			made := w.send("POST", "/Users", "entra-create-user.json")
			want := map[string]any{
				"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "id": "u-1", "externalId": "entra-1", "userName": "Nina@Example.com",
				"displayName": "Nina Nord", "name": map[string]any{"formatted": "Nina Nord"}, "active": true,
				"emails": []any{map[string]any{"value": "nina@example.com", "type": "work", "primary": true}},
				"meta": map[string]any{
					"resourceType": "User", "location": issuer + "/scim/v2/Users/u-1", "version": `W/"e1"`,
					"created": "2023-11-14T22:13:20Z", "lastModified": "2023-11-14T22:13:21Z",
				},
			}
			if diff := cmp.Diff(want, made.Body); diff != "" || made.Status != 201 || made.Header.Get("Location") != issuer+"/scim/v2/Users/u-1" || made.Header.Get("ETag") != `W/"e1"` {
				t.Fatalf("%d %v (-want +got):\n%s", made.Status, made.Header, diff)
			}
			for _, filter := range []string{"userName+eq+%22NINA%40example.com%22", "externalId+eq+%22entra-1%22", "ID+EQ+%22u-1%22", "urn:ietf:params:scim:schemas:core:2.0:User:userName%20eq%20%22nina%40example.com%22"} {
				if got := w.send("GET", "/Users?filter="+filter, ""); got.Status != 200 || got.Body["totalResults"] != 1.0 {
					t.Errorf("%s: %+v", filter, got)
				}
			}
			got := w.send("PATCH", "/Users/u-1", "entra-update-user.json")
			if got.Status != 200 || got.Body["displayName"] != "Nina Sund" || got.Body["userName"] != "nina.sund@example.com" || got.Body["active"] != true {
				t.Errorf("updated: %+v", got)
			}
			if len(w.revoked) != 0 {
				t.Errorf("revoked %v", w.revoked)
			}
			got = w.send("PATCH", "/Users/u-1", disable)
			if got.Status != 200 || got.Body["active"] != false || !slices.Equal(w.revoked, []string{"u-1"}) || !slices.Equal(w.awaited, []uint64{3}) {
				t.Errorf("disabled: %+v; revoked %v, awaited %v", got, w.revoked, w.awaited)
			}
			// The same once more ends what there is once more: the first may have failed halfway.
			if w.send("PATCH", "/Users/u-1", disable); len(w.revoked) != 2 || len(w.awaited) != 1 {
				t.Errorf("again: revoked %v, awaited %v", w.revoked, w.awaited)
			}
			if got := w.send("DELETE", "/Users/u-1", ""); got.Status != 204 || got.Body != nil {
				t.Errorf("deleted: %+v", got)
			}
			for _, method := range []string{"GET", "DELETE"} {
				if got := w.send(method, "/Users/u-1", ""); got.Status != 404 {
					t.Errorf("%s of one who is deleted: %+v", method, got)
				}
			}
			if diff := cmp.Diff([]string{"scim.user.created u-1", "scim.user.updated u-1", "scim.user.deactivated u-1", "scim.user.deleted u-1"}, w.audit()); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOktaUser is SC-1 with the bodies that Okta sends.
func TestOktaUser(t *testing.T) {
	w := newWorld(t)
	if got := w.send("POST", "/Users", "okta-create-user.json"); got.Status != 201 || got.Body["externalId"] != "00uokta1" || strings.Contains(fmt.Sprint(got.Body), "never kept") {
		t.Errorf("created: %+v", got)
	}
	got := w.send("PUT", "/Users/u-1", "okta-replace-user.json")
	if got.Status != 200 || got.Body["displayName"] != "Omar West" || got.Body["externalId"] != nil {
		t.Errorf("replaced: %+v", got)
	}
	// What does not speak of active leaves it as it is.
	w.send("PATCH", "/Users/u-1", "okta-disable-user.json")
	if got := w.send("PUT", "/Users/u-1", `{"userName":"omar@example.com"}`); got.Body["active"] != false {
		t.Errorf("replaced without active: %+v", got)
	}
}

// TestGroups is SC-1 and SC-3 with the bodies that Entra and Okta send.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.send("POST", "/Users", "entra-create-user.json")
	w.send("POST", "/Users", "okta-create-user.json")
	made := w.send("POST", "/Groups", "entra-create-group.json")
	if made.Status != 201 || made.Body["displayName"] != "Research Team" || made.Header.Get("Location") != issuer+"/scim/v2/Groups/g-1" {
		t.Fatalf("created: %+v", made)
	}
	for _, step := range []struct{ body, want string }{
		{"entra-add-member.json", "[u-1]"},
		{"entra-add-member.json", "[u-1]"},
		{"entra-remove-member.json", "[]"},
		{"entra-add-member.json", "[u-1]"},
		{"filter-remove-member.json", "[]"},
		{"okta-replace-members.json", "[u-1]"},
		{`{"Operations":[{"op":"add","path":"members","value":{"value":"u-2"}}]}`, "[u-1 u-2]"},
		{`{"Operations":[{"op":"add","value":{"members":[{"value":"u-2"}]}}]}`, "[u-1 u-2]"},
		{`{"Operations":[{"op":"remove","path":"members"}]}`, "[]"},
		{`{"Operations":[{"op":"remove","path":"members"},{"op":"add","path":"members","value":[{"value":"u-2"}]}]}`, "[u-2]"},
		{`{"Operations":[{"op":"add","path":"members","value":[{"value":"u-1"}]},{"op":"remove","path":"members[value eq \"u-1\"]"}]}`, "[u-2]"},
	} {
		if got := w.send("PATCH", "/Groups/g-1", step.body); got.Status != 204 || got.Body != nil {
			t.Errorf("%s: %+v", step.body, got)
		}
		if got := fmt.Sprint(w.people.teams[0].Members); got != step.want {
			t.Errorf("%s: members %s, want %s", step.body, got, step.want)
		}
	}
	w.send("PATCH", "/Groups/g-1", "okta-rename-group.json")
	got := w.send("GET", `/Groups?excludedAttributes=members&filter=displayName+eq+%22research+AND+development%22`, "")
	if list, ok := got.Body["Resources"].([]any); !ok || len(list) != 1 || list[0].(map[string]any)["members"] != nil {
		t.Errorf("found: %+v", got)
	}
	got = w.send("PUT", "/Groups/g-1", `{"displayName":"R","members":[{"value":"u-1","type":"User"}]}`)
	member := map[string]any{"value": "u-1", "type": "User", "$ref": issuer + "/scim/v2/Users/u-1"}
	if diff := cmp.Diff([]any{member}, got.Body["members"]); diff != "" || got.Status != 200 || got.Body["externalId"] != nil {
		t.Errorf("replaced: %+v (-want +got):\n%s", got, diff)
	}
	if got := w.send("DELETE", "/Groups/g-1", ""); got.Status != 204 {
		t.Errorf("deleted: %+v", got)
	}
	if got := w.send("GET", "/Groups/g-1", ""); got.Status != 404 {
		t.Errorf("after: %+v", got)
	}
	if last := w.awaited[len(w.awaited)-1]; last != w.people.revision {
		t.Errorf("awaited %v of %d", w.awaited, w.people.revision)
	}
}

// TestRefusals: each answer has SCIM's form, and changes nothing.
func TestRefusals(t *testing.T) {
	const patch = `{"Operations":[%s]}`
	op := func(text string) string { return fmt.Sprintf(patch, text) }
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		want                     string
	}{
		{"no body", "POST", "/Users", "", nil, "400 invalidSyntax"},
		{"no JSON", "POST", "/Users", "{", nil, "400 invalidSyntax"},
		{"list", "POST", "/Users", "[]", nil, "400 invalidSyntax"},
		{"null", "POST", "/Users", "null", nil, "400 invalidSyntax"},
		{"two values", "POST", "/Users", `{"userName":"a@b"}{}`, nil, "400 invalidSyntax"},
		{"no name", "POST", "/Users", `{"active":true}`, nil, "400 invalidValue"},
		{"name is none", "POST", "/Users", `{"userName":["a","b"]}`, nil, "400 invalidValue"},
		{"no address", "POST", "/Users", `{"userName":"nina"}`, nil, "400 invalidValue"},
		{"active is none", "POST", "/Users", `{"userName":"a@b","active":"maybe"}`, nil, "400 invalidValue"},
		{"addresses are none", "POST", "/Users", `{"userName":"a@b","emails":["a@b"]}`, nil, "400 invalidValue"},
		{"taken", "POST", "/Users", `{"userName":"NINA@example.com"}`, nil, "409 uniqueness"},
		{"a form", "POST", "/Users", `{"userName":"a@b"}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, "415 "},
		{"5 MiB", "POST", "/Users", `{"userName":"` + strings.Repeat("x", 5<<20) + `"}`, nil, "413 "},
		{"nobody", "GET", "/Users/nope", "", nil, "404 "},
		{"long id", "GET", "/Users/" + strings.Repeat("x", 100), "", nil, "404 "},
		{"nobody, put", "PUT", "/Users/nope", `{"userName":"a@b"}`, nil, "404 "},
		{"put without name", "PUT", "/Users/u-1", `{"active":true}`, nil, "400 invalidValue"},
		{"nobody, patch", "PATCH", "/Users/nope", "okta-disable-user.json", nil, "404 "},
		{"nobody, delete", "DELETE", "/Users/nope", "", nil, "404 "},
		{"no operations", "PATCH", "/Users/u-1", op(""), nil, "400 invalidSyntax"},
		{"operations are none", "PATCH", "/Users/u-1", `{"Operations":["x"]}`, nil, "400 invalidSyntax"},
		{"unknown operation", "PATCH", "/Users/u-1", op(`{"op":"move","path":"active","value":true}`), nil, "400 invalidSyntax"},
		{"no such path", "PATCH", "/Users/u-1", op(`{"op":"add","path":"a b","value":true}`), nil, "400 invalidPath"},
		{"no such path in a value", "PATCH", "/Users/u-1", op(`{"op":"add","value":{"a b":true}}`), nil, "400 invalidPath"},
		{"remove without path", "PATCH", "/Users/u-1", op(`{"op":"remove"}`), nil, "400 noTarget"},
		{"no path and no object", "PATCH", "/Users/u-1", op(`{"op":"add","value":true}`), nil, "400 invalidValue"},
		{"id", "PATCH", "/Users/u-1", op(`{"op":"replace","path":"id","value":"x"}`), nil, "400 mutability"},
		{"name removed", "PATCH", "/Users/u-1", op(`{"op":"remove","path":"userName"}`), nil, "400 invalidValue"},
		{"active removed", "PATCH", "/Users/u-1", op(`{"op":"remove","path":"active"}`), nil, "400 invalidValue"},
		{"name emptied", "PATCH", "/Users/u-1", op(`{"op":"replace","path":"userName","value":""}`), nil, "400 invalidValue"},
		{"active is null", "PATCH", "/Users/u-1", op(`{"op":"replace","path":"active","value":null}`), nil, "400 invalidValue"},
		{"old state", "PATCH", "/Users/u-1", "okta-disable-user.json", []string{"If-Match", `W/"e0"`}, "412 "},
		{"filter of another form", "GET", "/Users?filter=userName+sw+%22a%22", "", nil, "400 invalidFilter"},
		{"filter of two", "GET", "/Users?filter=userName+eq+%22a%22+and+active+eq+true", "", nil, "400 invalidFilter"},
		{"filter of something else", "GET", "/Users?filter=title+eq+%22a%22", "", nil, "400 invalidFilter"},
		{"startIndex", "GET", "/Users?startIndex=x", "", nil, "400 invalidValue"},
		{"count", "GET", "/Groups?count=1.5", "", nil, "400 invalidValue"},
		{"group without name", "POST", "/Groups", `{"members":[]}`, nil, "400 invalidValue"},
		{"group taken", "POST", "/Groups", `{"displayName":"research team"}`, nil, "409 uniqueness"},
		{"nobody in a group", "POST", "/Groups", `{"displayName":"x","members":[{"value":"nope"}]}`, nil, "400 invalidValue"},
		{"group in a group", "POST", "/Groups", `{"displayName":"x","members":[{"value":"u-1","type":"Group"}]}`, nil, "400 invalidValue"},
		{"member without id", "POST", "/Groups", `{"displayName":"x","members":[{"display":"u-1"}]}`, nil, "400 invalidValue"},
		{"no group", "PATCH", "/Groups/nope", "entra-add-member.json", nil, "404 "},
		{"no group, put", "PUT", "/Groups/nope", `{"displayName":"x"}`, nil, "404 "},
		{"no group, delete", "DELETE", "/Groups/nope", "", nil, "404 "},
		{"old state of a group", "DELETE", "/Groups/g-1", "", []string{"If-Match", `"e0"`}, "412 "},
		{"one member added by a filter", "PATCH", "/Groups/g-1", op(`{"op":"add","path":"members[value eq \"u-1\"]","value":1}`), nil, "400 invalidPath"},
		{"one member by something else", "PATCH", "/Groups/g-1", op(`{"op":"remove","path":"members[display eq \"u-1\"]"}`), nil, "400 invalidPath"},
		{"group name removed", "PATCH", "/Groups/g-1", op(`{"op":"remove","path":"displayName"}`), nil, "400 invalidValue"},
		{"group id", "PATCH", "/Groups/g-1", op(`{"op":"replace","path":"id","value":"x"}`), nil, "400 mutability"},
		{"filter where there is none", "GET", "/Schemas?filter=id+eq+%22x%22", "", nil, "403 "},
		{"no such schema", "GET", "/Schemas/x", "", nil, "404 "},
		{"nothing there", "GET", "/Nothing", "", nil, "404 "},
		{"not possible", "POST", "/Users/u-1", "{}", nil, "405 "},
		{"Me", "GET", "/Me", "", nil, "501 "},
		{"Bulk", "POST", "/Bulk", "{}", nil, "501 "},
		{"no token", "GET", "/Users", "", []string{"Authorization", ""}, "401 "},
		{"no token, nothing there", "GET", "/Nothing", "", []string{"Authorization", ""}, "401 "},
		{"no token, configuration", "GET", "/ServiceProviderConfig", "", []string{"Authorization", ""}, "401 "},
		{"token of nobody", "GET", "/Users", "", []string{"Authorization", "Bearer " + func() string { s, _ := ident.MintSecret("psm_"); return s }()}, "401 "},
		{"token of another kind", "GET", "/Users", "", []string{"Authorization", "Bearer " + func() string { s, _ := ident.MintSecret("psc_"); return s }()}, "401 "},
		{"wrong checksum", "GET", "/Users", "", []string{"Authorization", "Bearer psm_" + strings.Repeat("0", 49)}, "401 "},
		{"Basic", "GET", "/Users", "", []string{"Authorization", "Basic eDp4"}, "401 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.send("POST", "/Users", "entra-create-user.json")
			w.send("POST", "/Groups", "entra-create-group.json")
			before := w.people.revision
			got := w.send(tt.method, tt.path, tt.body, tt.header...)
			kind, _ := got.Body["scimType"].(string)
			if is := fmt.Sprint(got.Status, " ", kind); is != tt.want || got.Body["status"] != fmt.Sprint(got.Status) || got.Body["detail"] == "" {
				t.Errorf("got %s %v, want %s", is, got.Body, tt.want)
			}
			if challenge := got.Header.Get("WWW-Authenticate"); (challenge != "") != (got.Status == 401) {
				t.Errorf("challenge %q", challenge)
			}
			if w.people.revision != before || len(w.revoked) != 0 {
				t.Errorf("a refusal changed something: %v", w.revoked)
			}
		})
	}
}

// TestFailures: what cannot be done now is said so, and can be repeated.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails error
		want  int
	}{
		{"no control plane", fault.New(fault.Unavailable, "CONTROL_PLANE_UNAVAILABLE", "x"), 503},
		{"bug", errors.New("canary"), 500},
		{"last administrator", fault.New(fault.Precondition, "LAST_ADMIN", "x"), 403},
		{"provider off", fault.New(fault.Denied, "PROVISIONING_NOT_ALLOWED", "x"), 403},
	} {
		w := newWorld(t)
		w.people.fails = tt.fails
		got := w.send("POST", "/Users", "entra-create-user.json")
		if got.Status != tt.want || (got.Header.Get("Retry-After") != "") != (tt.want == 503) || strings.Contains(fmt.Sprint(got.Body), "canary") {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	w := newWorld(t, func(c *scim.Config) {
		c.RevokeUser = func(context.Context, string) error { return errors.New("store is gone") }
	})
	w.send("POST", "/Users", "entra-create-user.json")
	if got := w.send("DELETE", "/Users/u-1", ""); got.Status != 500 {
		t.Errorf("what the user has does not end: %+v", got)
	}
	if got := w.send("GET", "/Users/u-1", ""); got.Status != 200 || got.Body["active"] != false {
		t.Errorf("after a deletion that failed halfway: %+v", got)
	}
	w = newWorld(t)
	w.send("POST", "/Users", "entra-create-user.json")
	w.people.meets = 3
	if got := w.send("PATCH", "/Users/u-1", "okta-disable-user.json"); got.Status != 200 {
		t.Errorf("after three changes of others: %+v", got)
	}
	w.view = nil
	if got := w.send("GET", "/Users", ""); got.Status != 503 {
		t.Errorf("without a directory: %+v", got)
	}
}

// TestLimits is ST-11: who guesses tokens is made to wait, in SCIM's form.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	for range limit.Defaults()[limit.SCIMFailure].Burst {
		if got := w.send("GET", "/Users", "", "Authorization", "Bearer x"); got.Status != 401 {
			t.Fatalf("got %+v", got)
		}
	}
	got := w.send("GET", "/Users", "")
	if got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") == "" || got.Body["status"] != "429" {
		t.Errorf("got %+v", got)
	}
}

// TestPages is RFC 7644 §3.4.2.4.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.people.users = append(w.people.users, directory.Provisioned{UID: fmt.Sprint("u-", i), UserName: fmt.Sprint("u", i), Etag: "e"})
	}
	for _, tt := range []struct{ query, want string }{
		{"", "7 1 7"},
		{"?startIndex=3&count=2", "7 3 2"},
		{"?startIndex=0&count=-1", "7 1 0"},
		{"?startIndex=8", "7 8 0"},
		{"?count=100000", "7 1 7"},
		{"?filter=userName+eq+%22%22", "0 1 0"},
	} {
		got := w.send("GET", "/Users"+tt.query, "")
		list, _ := got.Body["Resources"].([]any)
		if is := fmt.Sprint(got.Body["totalResults"], got.Body["startIndex"], len(list)); strings.Join(strings.Fields(is), " ") != tt.want || got.Body["itemsPerPage"] != float64(len(list)) {
			t.Errorf("%q: %s, want %s", tt.query, is, tt.want)
		}
	}
	got := w.send("GET", "/Users/u-1?attributes=userName,emails.value", "")
	if len(got.Body) != 4 || got.Body["userName"] == nil || got.Body["emails"] == nil {
		t.Errorf("chosen attributes: %+v", got.Body)
	}
}

// TestDescriptions is RFC 7643 §5 to §7.
func TestDescriptions(t *testing.T) {
	w := newWorld(t)
	got := w.send("GET", "/ServiceProviderConfig", "")
	for name, want := range map[string]bool{"patch": true, "bulk": false, "filter": true, "changePassword": false, "sort": false, "etag": true} {
		if got.Body[name].(map[string]any)["supported"] != want {
			t.Errorf("%s: %v", name, got.Body[name])
		}
	}
	for path, want := range map[string]int{"/ResourceTypes": 2, "/Schemas": 2} {
		if got := w.send("GET", path, ""); got.Body["totalResults"] != float64(want) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	for path, id := range map[string]string{
		"/ResourceTypes/User": "User", "/ResourceTypes/Group": "Group", "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User": "urn:ietf:params:scim:schemas:core:2.0:User",
	} {
		if got := w.send("GET", path, ""); got.Status != 200 || got.Body["id"] != id {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
