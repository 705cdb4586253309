// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

func TestListPages(t *testing.T) {
	o := newOrg(t)
	var want []string
	for i := range 23 {
		s := server(fmt.Sprintf("s%02d", i))
		if i%2 == 0 {
			s.Visibility = seenBy("ops")
		} else {
			want = append(want, s.Name)
		}
		o.create(s)
	}
	for _, size := range []int{1, 4, 11, 12, 100} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var got []string
			opt := catalog.ListOptions{PageSize: size}
			for pages := 1; ; pages++ {
				page, err := o.List(t.Context(), o.as("bob"), catalog.KindServer, opt)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Objects) > size {
					t.Fatalf("a page has %d entries", len(page.Objects))
				}
				for _, x := range page.Objects {
					got = append(got, x.Metadata().Name)
				}
				if opt.PageToken = page.NextPageToken; opt.PageToken == "" {
					if most := (len(want) + size - 1) / size; pages > most {
						t.Errorf("%d pages; want %d: the last one says that it is", pages, most)
					}
					break
				}
			}
			diff(t, "pages put together", want, got)
		})
	}
}

func TestListRefused(t *testing.T) {
	o := newOrg(t)
	o.standard()
	first, err := o.List(t.Context(), o.as("root"), catalog.KindConnection, catalog.ListOptions{PageSize: 1})
	if err != nil || first.NextPageToken == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	for _, tc := range []struct {
		name, want, text string
		kind             catalog.Kind
		opt              catalog.ListOptions
	}{
		{"page size below 0", "invalid INVALID_FIELD", "1 to 1000", catalog.KindServer, catalog.ListOptions{PageSize: -1}},
		{"page size above 1,000", "invalid INVALID_FIELD", "1 to 1000", catalog.KindServer, catalog.ListOptions{PageSize: 1001}},
		{"no page token", "invalid INVALID_PAGE_TOKEN", "not made by a list", catalog.KindServer, catalog.ListOptions{PageToken: "x"}},
		{"token of another kind", "invalid INVALID_PAGE_TOKEN", "another kind", catalog.KindServer, catalog.ListOptions{PageToken: first.NextPageToken}},
		{"token of another filter", "invalid INVALID_PAGE_TOKEN", "filter", catalog.KindConnection, catalog.ListOptions{PageToken: first.NextPageToken, Filter: `name = "x"`}},
		{"token without deleted", "invalid INVALID_PAGE_TOKEN", "show_deleted", catalog.KindConnection, catalog.ListOptions{PageToken: first.NextPageToken, ShowDeleted: true}},
		{"filter", "invalid INVALID_FILTER", "character 7", catalog.KindConnection, catalog.ListOptions{Filter: `name == "x"`}},
		{"field", "invalid INVALID_FILTER", `did you mean "server"`, catalog.KindConnection, catalog.ListOptions{Filter: `sever = "x"`}},
		{"kind", "invalid INVALID_FIELD", "cannot be listed", catalog.KindAssignment, catalog.ListOptions{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.List(t.Context(), o.as("root"), tc.kind, tc.opt)
			wantRefusal(t, err, tc.want, tc.text)
		})
	}
}

func TestListFilters(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(server("files2"))
	o.discover("files2", tool("read"))
	g := gateway("labelled", seenBy("bob"))
	g.Labels, g.DisplayName = map[string]string{"env": "prod", "a.b": "c"}, `The "big" one`
	o.create(g, gateway("plain", seenBy()))
	for _, tc := range []struct {
		kind   catalog.Kind
		filter string
		want   []string
	}{
		{catalog.KindConnection, "", []string{"ada-files", "bob-files", "eng-files", "ops-files", "shared"}},
		{catalog.KindConnection, `owner.user = "bob@example.com"`, []string{"bob-files"}},
		{catalog.KindConnection, `owner.team : "E" AND server = "files"`, []string{"eng-files"}},
		{catalog.KindConnection, `name != "shared" AND name : "-f"  AND owner.user != "ada@example.com"`, []string{"bob-files", "eng-files", "ops-files"}},
		{catalog.KindTool, `server = "files"`, []string{"files/read", "files/write"}},
		{catalog.KindTool, `server = "files2" AND state = "TOOL_STATE_ACTIVE"`, []string{"files2/read"}},
		{catalog.KindTool, `upstream_name = "read"`, []string{"files/read", "files2/read"}},
		{catalog.KindGateway, `labels.env = "prod"`, []string{"labelled"}},
		{catalog.KindGateway, `labels.a.b = "c"`, []string{"labelled"}},
		{catalog.KindGateway, `labels.env != "prod"`, []string{"plain"}},
		{catalog.KindGateway, `display_name = "The \"big\" one"`, []string{"labelled"}},
		{catalog.KindGateway, `visibility.personal.owner : "bob"`, []string{"labelled"}},
	} {
		t.Run(tc.filter, func(t *testing.T) {
			page, err := o.List(t.Context(), o.as("root"), tc.kind, catalog.ListOptions{Filter: tc.filter})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range page.Objects {
				got = append(got, x.Metadata().Name)
			}
			diff(t, "names", tc.want, got)
		})
	}
}

func TestListDeleted(t *testing.T) {
	o := newOrg(t)
	o.create(server("a"), server("b"))
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindServer, "a", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	count := func(deleted bool) int {
		t.Helper()
		page, err := o.List(t.Context(), o.as("root"), catalog.KindServer, catalog.ListOptions{ShowDeleted: deleted})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Objects)
	}
	diff(t, "living", 1, count(false))
	diff(t, "with deleted", 2, count(true))
	o.now = o.now.Add(31 * 24 * time.Hour)
	diff(t, "with deleted, 31 days later", 1, count(true))
}

// What an export has, Apply takes without a change.
func TestExport(t *testing.T) {
	o := newOrg(t)
	o.create(secretServer("vaulted"), stdioServer("local"))
	o.standard()
	c := connection("secret", "vaulted", everybody())
	c.SecretHeaders = map[string]string{"X-Key": "s3cret"}
	g := gateway("gw", seenBy("eng"), pin("files/read", "shared"), pin("files/write", "eng-files"))
	g.Labels = map[string]string{"env": "prod"}
	o.create(c, g)
	all, rev, err := o.Export(t.Context(), o.as("root"))
	if err != nil || rev != o.head() {
		t.Fatalf("revision %d, %v", rev, err)
	}
	for _, x := range all {
		m := x.Metadata()
		if m.UID != "" || m.Etag != "" || !m.CreateTime.IsZero() {
			t.Errorf("the export of %s %q has metadata: %+v", x.Kind(), m.Name, m)
		}
		switch x := x.(type) {
		case *catalog.Connection:
			if len(x.SecretHeaders) > 0 || len(x.SecretNames) > 0 || x.CredentialVersion != "" {
				t.Errorf("the export has secrets: %+v", x)
			}
		case *catalog.Gateway:
			if x.Tools[0].ResolvedName != "" || x.Status != nil {
				t.Errorf("the export has computed fields: %+v", x)
			}
		}
	}
	out, err := o.Apply(t.Context(), o.as("root"), all, catalog.ApplyOptions{Prune: true})
	if err != nil || out.Revision != rev {
		t.Fatalf("applying an export: revision %d, %v; want %d", out.Revision, err, rev)
	}
	for _, item := range out.Items {
		if item.Action != catalog.ActionUnchanged || len(item.ChangedFields) > 0 {
			t.Errorf("applying an export: %+v", item)
		}
	}
	mine, _, err := o.Export(t.Context(), o.as("eve"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range mine {
		if x.Kind() == catalog.KindGateway || x.Metadata().Name == "eng" {
			t.Errorf("eve exports %s %q, which she does not see", x.Kind(), x.Metadata().Name)
		}
	}
}
