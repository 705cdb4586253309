// SPDX-License-Identifier: Apache-2.0

// Package catalog is the domain of the control plane: the resources of an organisation, the rules they obey, who may
// change them, and the commands that change them.
//
// It owns the commands and queries of [Catalog], and the [Store] interface. The rooms below it own the parts: resource
// (data and the rules of one resource), record (how it is stored), access (who may), admission (rules between resources),
// condition, usage, discovery, facts, fields, filter, definition; desk is where a command reads, stage where a store
// keeps what it writes, storetest what every store must do. It is called by adminapi (commands), nodeapi (discovery
// results) and feed (stored form to node stream). It must never know of HTTP, gRPC, Connect, SQL or the protobuf
// messages: adminapi and feed translate.
package catalog
