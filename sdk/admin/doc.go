// SPDX-License-Identifier: Apache-2.0

// Package admin is the Go client of Penstock's admin API (penstock.admin.v1): gateways, servers, connections, tools, teams,
// users, bearer tokens, identity providers, OAuth clients, nodes, and whole configurations.
//
//	client, err := admin.New("https://penstock.example.com", os.Getenv("PENSTOCK_TOKEN"))
//	...
//	created, err := client.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: gateway})
//
// Each part of the API is a field of [Client] with the methods of its service; requests and responses are the messages of
// penstock.admin.v1, whose comments say what each field means. What is particular to this package: paging ([Servers.All] and
// its siblings), errors that can be asked what they are ([IsNotFound], [AsError]), and retries of calls that change nothing.
//
// Writes are never repeated by this package. A write is safe to repeat by hand with the etag that Get returned: if the first
// attempt had succeeded after all, the second is refused with [IsConflict].
//
// # Stability
//
// The exported names of this package and of admin/manifest follow semantic versioning. Fields and methods of the messages are
// only ever added.
package admin
