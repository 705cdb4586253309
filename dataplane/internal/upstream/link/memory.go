// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// maxRestored bounds the subscriptions that are kept for a session.
const maxRestored = 256

// Restore tells the upstream what it knew by a session that is lost: log level
// and subscriptions (M-92). What fails is left out.
func (ses *Session) Restore(ctx context.Context, lost *Session) {
	lost.mu.Lock()
	level, uris := lost.level, make([]string, 0, len(lost.uris))
	for uri := range lost.uris {
		uris = append(uris, uri)
	}
	lost.mu.Unlock()
	if level != "" {
		ses.setLevel(ctx, level)
	}
	slices.Sort(uris)
	for _, uri := range uris {
		if ses.Subscribe(ctx, uri) {
			ses.Remember("resources/subscribe", uri)
		}
	}
}

// Subscribe asks for the updates of a resource, outside of any call, and reports
// whether the upstream will send them.
func (ses *Session) Subscribe(ctx context.Context, uri string) bool {
	params := append(wire.AppendString([]byte(`{"uri":`), uri), '}')
	a, err := ses.Ask(ctx, &peer.Request{Method: "resources/subscribe", Params: params})
	return err == nil && a.Result != nil
}

// Remember notes a subscription, or its end, that a call made: method is
// resources/subscribe or resources/unsubscribe.
func (ses *Session) Remember(method, uri string) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	switch {
	case method == "resources/unsubscribe":
		delete(ses.uris, uri)
	case method == "resources/subscribe" && len(ses.uris) < maxRestored:
		if ses.uris == nil {
			ses.uris = make(map[string]struct{})
		}
		ses.uris[uri] = struct{}{}
	}
}

// verbosity orders the log levels, the most verbose highest; 0 is no level.
func verbosity(level string) int {
	switch level {
	case "debug":
		return 8
	case "info":
		return 7
	case "notice":
		return 6
	case "warning":
		return 5
	case "error":
		return 4
	case "critical":
		return 3
	case "alert":
		return 2
	case "emergency":
		return 1
	}
	return 0
}

// Level tells the upstream the log level of a call, if it is another one than
// before (M-52). A session that is shared by several clients is set to the most
// verbose level asked.
func (ses *Session) Level(ctx context.Context, level string) {
	if !ses.logging || level == "" {
		return
	}
	ses.mu.Lock()
	known := ses.level
	ses.mu.Unlock()
	if known == level || verbosity(level) == 0 {
		return
	}
	if !ses.target.Streams() && verbosity(level) < verbosity(known) {
		return
	}
	ses.setLevel(ctx, level)
}

func (ses *Session) setLevel(ctx context.Context, level string) {
	params := append(wire.AppendString([]byte(`{"level":`), level), '}')
	if a, err := ses.Ask(ctx, &peer.Request{Method: "logging/setLevel", Params: params}); err != nil || era.SessionGone(a.Answer) {
		return // the call finds out what is wrong
	}
	ses.mu.Lock()
	ses.level = level // a refusal too: it is not asked with each call
	ses.mu.Unlock()
}
