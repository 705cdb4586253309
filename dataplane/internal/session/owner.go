// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Node is the name of this node, part of what clients carry back: ids of questions, of events and of HTTP+SSE sessions.
func (m *Manager) Node() string { return m.node }

// Holder returns the name of the node that has the stream of an HTTP+SSE session, by its id: only that node can take
// what the client sends (M-44). It is empty if the id is none of those that this principal may use at the gateway.
func (m *Manager) Holder(gatewayUID string, p ident.Principal, id string) string {
	c, ok := m.claims(gatewayUID, id, p)
	if !ok {
		return ""
	}
	return c.node
}

// Asker returns the name of the node that asked the question with a raw id, empty if no node makes such ids (M-12). The id
// comes from a client: whether the node exists is for the caller to find out.
func Asker(id []byte) string {
	if len(id) < 2 || id[0] != '"' || id[len(id)-1] != '"' {
		return ""
	}
	id = id[1 : len(id)-1]
	i := bytes.LastIndexByte(id, '.')
	if i <= 0 || i == len(id)-1 || !nodeName.Match(id[:i]) {
		return ""
	}
	for _, c := range id[i+1:] {
		if c < '0' || c > '9' {
			return ""
		}
	}
	return string(id[:i])
}
