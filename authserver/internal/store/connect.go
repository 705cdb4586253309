// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"
)

// ConnectLink is a link under which a person gives a credential for a server (EL-4, EL-5).
type ConnectLink struct {
	Hash       Hash   // of the identifier in the link
	User       string // uid of the only person who may use it
	Server     string // name
	Client     string // client_id of the MCP client that was told the link; empty: none
	Gateway    string // name
	CreateTime time.Time
	ExpireTime time.Time
	UseTime    time.Time // zero while nobody used it
}

// ConnectReader reads connect links.
type ConnectReader interface {
	// ConnectLink returns a link, used and expired ones too, until they are collected.
	ConnectLink(ctx context.Context, id Hash) (ConnectLink, error)
}

// ConnectTx changes connect links.
type ConnectTx interface {
	// CreateConnectLink stores a link unless its user has that many open ones for the server at its CreateTime already, and
	// tells whether it did: of several at once no more get through (EL-11).
	CreateConnectLink(ctx context.Context, l ConnectLink, most int) (bool, error)
	// UseConnectLink marks a link as used, and tells whether this call did: of several only one (EL-5). It does not for a link
	// that is over at that time.
	UseConnectLink(ctx context.Context, id Hash, at time.Time) (bool, error)
	// ReopenConnectLink takes back the use of a link that came to nothing.
	ReopenConnectLink(ctx context.Context, id Hash) error
}
