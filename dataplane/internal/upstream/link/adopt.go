// SPDX-License-Identifier: Apache-2.0

package link

import (
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Stored is what another node needs to go on with a session (M-92).
type Stored struct {
	ID         string       `json:"i"` // whoever has it has the session
	Version    wire.Version `json:"v"`
	Logging    bool         `json:"l,omitempty"` // the upstream declares it
	Connection string       `json:"c,omitempty"` // by its name, for who has no call to make
}

// Stored returns what another node needs; false if none can go on with the session: it has no id, or is a connection.
func (ses *Session) Stored() (Stored, bool) {
	return Stored{ID: ses.id, Version: ses.version, Logging: ses.logging, Connection: ses.target.Connection}, ses.id != "" && ses.conn == nil
}

// Adopt makes the session that another node has opened for an equal target, without telling the upstream. What the upstream
// was told of it, the log level among it, this node does not know: it tells that again. False is a session that cannot be.
func (e *Engine) Adopt(to *httpclient.Endpoint, t *peer.Target, s Stored) (*Session, bool) {
	if !visibleASCII(s.ID) || s.Version.Era() != wire.Legacy {
		return nil, false
	}
	ses := &Session{
		e: e, to: to, target: *t, kinds: peer.KindsOf(t.Capabilities), ended: make(chan struct{}),
		id: s.ID, version: s.Version, logging: s.Logging,
	}
	ses.box.Owner = ses
	ses.ready.Store(true)
	return ses, true
}
