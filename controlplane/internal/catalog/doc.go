// SPDX-License-Identifier: Apache-2.0

// Package catalog is the domain of the control plane: the resources of an organisation, the rules they obey, who may
// change them, and the commands that change them.
//
// It owns the [Store] interface and the JSON form in which resources are stored. It is called by adminapi (commands),
// nodeapi (discovery results) and feed (stored form to node stream). It must never know of HTTP, gRPC, Connect, SQL or
// the protobuf messages: adminapi and feed translate.
package catalog
