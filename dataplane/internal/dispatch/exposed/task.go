// SPDX-License-Identifier: Apache-2.0

package exposed

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonQuestion (Unavailable): a question of a server cannot be read.
const ReasonQuestion = "UPSTREAM_QUESTION_INVALID"

// Sealer makes and opens the ids of tasks that clients see.
type Sealer interface {
	// SealTask returns the same id for the same plain: clients compare them.
	SealTask(gatewayUID string, plain []byte) string
	OpenTask(gatewayUID, id string) (plain []byte, ok bool)
}

// Task is what the id of a task holds (M-55): whose it is, and where any node finds it.
type Task struct {
	modern             bool // of the extension
	principal          string
	Server, Connection string
	ID                 string // as the server calls it
	// Judged is what the caller of Names.Judged gave, of the call that made the task; empty where the id is not of its result.
	Judged string
}

// Bits of the first byte. Without isJudged there is no Judged, and the id is the same on nodes of every version.
const (
	isModern = 1 << iota
	isJudged
)

func (t *Task) plain() []byte {
	b, texts := []byte{0}, []string{t.principal, t.Server, t.Connection}
	if t.modern {
		b[0] |= isModern
	}
	if t.Judged != "" {
		b[0] |= isJudged
		texts = append([]string{t.Judged}, texts...)
	}
	for _, text := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return append(b, t.ID...)
}

func read(plain []byte) (t Task, ok bool) {
	if len(plain) == 0 {
		return t, false
	}
	t.modern = plain[0]&isModern > 0
	texts := []*string{&t.principal, &t.Server, &t.Connection}
	if plain[0]&isJudged > 0 {
		texts = append([]*string{&t.Judged}, texts...)
	}
	plain = plain[1:]
	for _, into := range texts {
		n, used := binary.Uvarint(plain)
		if used <= 0 || n > uint64(len(plain)-used) {
			return t, false
		}
		*into, plain = string(plain[used:used+int(n)]), plain[used+int(n):]
	}
	t.ID = string(plain)
	return t, true
}

// SealTask returns the id by which the caller knows a task of the server.
func (n *Names) SealTask(id string) string {
	t := Task{
		modern: n.caller.Version.Era() == wire.Modern, principal: n.caller.Principal.Key(),
		Server: n.server.Name, Connection: n.connection, ID: id, Judged: n.judged,
	}
	return n.sealer.SealTask(n.caller.Gateway.UID, t.plain())
}

// OpenTask opens the id of a task of the caller. What is not the caller's, or of the other era, is not there.
func OpenTask(s Sealer, c *call.Caller, id string) (Task, bool) {
	plain, ok := s.OpenTask(c.Gateway.UID, id)
	if !ok {
		return Task{}, false
	}
	t, ok := read(plain)
	return t, ok && t.principal == c.Principal.Key() && t.modern == (c.Version.Era() == wire.Modern)
}

// Asker returns a client that is asked under its own names: what a question and its answer say of a task (2025-11-25) is
// translated.
func (n *Names) Asker(a call.Asker) call.Asker {
	if a == nil || n == nil || !n.server.Capabilities.Tasks {
		return a
	}
	return asker{a, n}
}

type asker struct {
	call.Asker
	names *Names
}

// Ask implements call.Asker.
func (a asker) Ask(ctx context.Context, q call.Question) (call.Answer, error) {
	if bytes.Contains(q.Params, []byte("related-task")) {
		r := renaming{Names: a.names, raw: q.Params}
		r.related(wire.Span{Start: 0, End: len(q.Params)})
		exposed, err := r.done()
		if err != nil {
			return call.Answer{}, fault.New(fault.Unavailable, ReasonQuestion, "The server's question cannot be read.").Because(err)
		}
		q.Params = exposed
	}
	answer, err := a.Asker.Ask(ctx, q)
	if err != nil || !bytes.Contains(answer.Result, []byte("related-task")) {
		return answer, err
	}
	r := renaming{Names: a.names, raw: answer.Result}
	at := r.member(r.member(r.member(wire.Span{Start: 0, End: len(answer.Result)}, "_meta"), relatedTask), "taskId")
	id, _ := wire.DecodeString(at.Of(answer.Result))
	if t, ok := OpenTask(a.names.sealer, a.names.caller, id); ok {
		r.edits.Replace(at, wire.Quote(t.ID))
	}
	answer.Result, err = r.done()
	return answer, err
}
