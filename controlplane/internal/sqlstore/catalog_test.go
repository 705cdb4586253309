// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func named(name string) catalog.Meta { return catalog.Meta{Name: name} }

func everybody() *resource.Owner { return &resource.Owner{Organization: &struct{}{}} }

// org is a catalog on a database with a server "files" of some tools and a connection "shared".
func org(t *testing.T, dsn string, tools int) *catalog.Catalog {
	t.Helper()
	c := catalog.New(catalog.Config{Store: open(t, sqlstore.Config{DSN: dsn})})
	create(t, c, &catalog.Server{Meta: named("files"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://files.example.com/mcp"}})
	raw := make([][]byte, tools)
	for i := range raw {
		raw[i] = fmt.Appendf(nil, `{"name":"tool-%02d"}`, i)
	}
	if _, err := c.RecordDiscovery(t.Context(), "files", catalog.Discovery{Tools: raw}); err != nil {
		t.Fatal(err)
	}
	create(t, c, &catalog.Connection{Meta: named("shared"), Server: "files", Owner: everybody()})
	return c
}

func system() catalog.Caller { return catalog.Caller{System: true} }

func create(t *testing.T, c *catalog.Catalog, o catalog.Object) {
	t.Helper()
	if _, err := c.Create(t.Context(), system(), o, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func gateway(name string, tools ...int) *catalog.Gateway {
	g := &catalog.Gateway{Meta: named(name), Visibility: &resource.Visibility{Organization: &struct{}{}}}
	for _, i := range tools {
		g.Tools = append(g.Tools, catalog.ToolAssignment{Tool: fmt.Sprintf("files/tool-%02d", i), Pinned: &resource.Pinned{Connection: "shared"}})
	}
	return g
}

// Many administrators at once: each adds a tool to one gateway with the etag it read. Nobody's tool is lost, whoever was
// late is told so.
func TestConcurrentAdministrators(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			const admins = 6
			c := org(t, dsn(t), admins)
			create(t, c, gateway("gw"))
			var group sync.WaitGroup
			for i := range admins {
				group.Go(func() {
					for {
						err := addTool(t.Context(), c, i)
						if err == nil {
							return
						}
						if fault.KindOf(err) != fault.Conflict {
							t.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			g, err := c.Get(t.Context(), system(), catalog.KindGateway, "gw")
			if err != nil || len(g.(*catalog.Gateway).Tools) != admins {
				t.Errorf("the gateway has %v, %v", g, err)
			}
		})
	}
}

func addTool(ctx context.Context, c *catalog.Catalog, i int) error {
	o, err := c.Get(ctx, system(), catalog.KindGateway, "gw")
	if err != nil {
		return err
	}
	g := o.(*catalog.Gateway)
	g.Tools = append(g.Tools, gateway("", i).Tools...)
	_, err = c.Update(ctx, system(), g, []string{"tools"}, catalog.WriteOptions{})
	return err
}

// Installing a connection and deleting its server at the same time: one of the two is refused.
func TestConcurrentDelete(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			c := org(t, dsn(t), 1)
			for i := range 8 {
				server, conn := fmt.Sprintf("s-%d", i), fmt.Sprintf("c-%d", i)
				create(t, c, &catalog.Server{Meta: named(server), StreamableHTTP: &resource.StreamableHTTP{URL: "https://s.example.com/mcp"}})
				var group sync.WaitGroup
				var made, deleted error
				group.Go(func() {
					_, made = c.Create(t.Context(), system(), &catalog.Connection{Meta: named(conn), Server: server, Owner: everybody()}, catalog.WriteOptions{})
				})
				group.Go(func() {
					_, deleted = c.Delete(t.Context(), system(), catalog.KindServer, server, "", catalog.WriteOptions{})
				})
				group.Wait()
				if (made == nil) == (deleted == nil) {
					t.Errorf("installing: %v, deleting: %v; want one to succeed", made, deleted)
				}
			}
		})
	}
}

// 10,000 resources in one transaction on a real database. The time is printed; the bound is generous.
func TestApplyLarge(t *testing.T) {
	gateways := 10_000
	if raceDetector {
		gateways = 200
	}
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			c := org(t, dsn(t), 20)
			objects := make([]catalog.Object, gateways)
			for i := range objects {
				objects[i] = gateway(fmt.Sprintf("gw-%05d", i), i%20, (i+7)%20)
			}
			for _, action := range []string{catalog.ActionCreated, catalog.ActionUnchanged} {
				start := time.Now()
				out, err := c.Apply(t.Context(), system(), objects, catalog.ApplyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d gateways with two tools each: %s in %v", gateways, action, time.Since(start))
				if took := time.Since(start); out.Items[0].Action != action || took > 2*time.Minute {
					t.Errorf("%+v in %v", out.Items[0], took)
				}
			}
		})
	}
}
