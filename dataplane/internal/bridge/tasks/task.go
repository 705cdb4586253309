// SPDX-License-Identifier: Apache-2.0

package tasks

import (
	"bytes"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// The states of a task, in both forms.
const (
	working       = "working"
	inputRequired = "input_required"
	completed     = "completed"
	failed        = "failed"
	cancelled     = "cancelled"
)

const (
	// defaultPoll is how often an upstream is asked that does not say, minPoll and maxPoll bound what it says.
	defaultPoll = time.Second
	minPoll     = 100 * time.Millisecond
	maxPoll     = 30 * time.Second
)

// task is a task as the upstream tells of it.
type task struct {
	id      []byte // raw
	status  string
	message string
	poll    time.Duration

	requests, result, object []byte // raw inputRequests, result and error of the extension's form; nil if absent
}

// IsCreated reports whether the result of a call to a modern upstream is a task.
func IsCreated(result []byte) bool {
	if !bytes.Contains(result, []byte(`"task"`)) { // the value needs no escapes, and nobody makes some
		return false
	}
	var m wire.Message
	return wire.ScanResult(result, &m) == nil && wire.EqualString(m.R.ResultType.Of(result), "task")
}

// created reads the answer to a call of 2025-11-25 that was to become a task.
func created(result []byte) (t task, ok bool) {
	var m wire.Message
	if wire.ScanResult(result, &m) != nil || !wire.IsObject(m.R.Task.Of(result)) {
		return t, false
	}
	return read(m.R.Task.Of(result))
}

// read reads a task object, of either form, or a result that is one.
func read(raw []byte) (t task, ok bool) {
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return t, false
	}
	get := func(name string) []byte { return wire.Lookup(fields, name).Of(raw) }
	t.id = get("taskId")
	t.status, _ = wire.DecodeString(get("status"))
	t.message, _ = wire.DecodeString(get("statusMessage"))
	t.requests, t.result, t.object = get("inputRequests"), get("result"), get("error")
	t.poll = defaultPoll
	for _, name := range [...]string{"pollInterval", "pollIntervalMs"} {
		if ms, is := wire.Int(get(name)); is {
			t.poll = min(max(time.Duration(min(ms, maxPoll.Milliseconds()))*time.Millisecond, minPoll), maxPoll)
		}
	}
	switch t.status {
	case working, inputRequired, completed, failed, cancelled:
		return t, wire.IsString(t.id)
	}
	return t, false
}

// params are those of a request about the task; more is a raw member to add, empty for none.
func (t *task) params(more string) []byte {
	b := append([]byte(`{"taskId":`), t.id...)
	return append(append(b, more...), '}')
}

// withTask returns the params of tools/call that ask for a task.
func withTask(params []byte) ([]byte, error) {
	var m wire.Message
	if err := wire.ScanParams(params, &m); err != nil {
		return nil, err
	}
	fields, err := wire.Fields(nil, params)
	if err != nil {
		return nil, err
	}
	var e wire.Edits
	e.Set(m.Params.Span, wire.Lookup(fields, "task"), "task", []byte(`{}`)) // an older client's task means nothing
	return e.AppendTo(nil, params), nil
}

// relatedTask is the key of _meta that names the task of a message.
const relatedTask = wire.ReservedPrefix + "related-task"

// unrelated returns a result that does not name a task.
func unrelated(result []byte) []byte {
	var m wire.Message
	if wire.ScanResult(result, &m) != nil || m.Meta.Reserved == 0 {
		return result
	}
	var e wire.Edits
	if wire.StripMeta(&e, result, m.R.Meta.Span, "", relatedTask) != nil || e.Len() == 0 {
		return result
	}
	return e.AppendTo(nil, result)
}
