// SPDX-License-Identifier: Apache-2.0

package peer

import "github.com/penstockhq/penstock/dataplane/internal/wire"

// Wants reports whether a notification is of a kind that was subscribed to.
func (s *Subscription) Wants(method string) bool {
	switch method {
	case "notifications/tools/list_changed":
		return s.Tools
	case "notifications/prompts/list_changed":
		return s.Prompts
	case "notifications/resources/list_changed":
		return s.Resources
	case "notifications/resources/updated":
		return len(s.URIs) > 0 // of what lies below a URI too
	case "notifications/tasks":
		return len(s.TaskIDs) > 0
	}
	return false
}

// Params returns the raw params of subscriptions/listen.
func (s *Subscription) Params() []byte {
	b := []byte(`{"notifications":{`)
	member := func(key string) { b = append(append(append(b, '"'), key...), `":`...) }
	flag := func(on bool, key string) {
		if on {
			member(key)
			b = append(b, "true,"...)
		}
	}
	list := func(values []string, key string) {
		if len(values) == 0 {
			return
		}
		member(key)
		for i, v := range values {
			b = append(b, "[,"[min(i, 1)])
			b = wire.AppendString(b, v)
		}
		b = append(b, "],"...)
	}
	flag(s.Tools, "toolsListChanged")
	flag(s.Prompts, "promptsListChanged")
	flag(s.Resources, "resourcesListChanged")
	list(s.URIs, "resourceSubscriptions")
	list(s.TaskIDs, "taskIds")
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, "}}"...)
}

// Honours reports whether the raw params of
// notifications/subscriptions/acknowledged name any kind.
func Honours(params []byte) bool {
	fields, err := wire.Fields(nil, params)
	if err != nil {
		return false
	}
	raw := wire.Lookup(fields, "notifications").Of(params)
	kinds, err := wire.Fields(nil, raw)
	if err != nil {
		return false
	}
	for _, f := range kinds {
		if v := string(f.Of(raw)); v != "false" && v != "[]" && v != "null" {
			return true
		}
	}
	return false
}
