// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"strconv"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxQuestions bounds the requests to a client that it has not answered.
const maxQuestions = 64

// ReasonQuestions: too many questions wait for the client of the session (Exhausted).
const ReasonQuestions = "SESSION_QUESTION_LIMIT"

// Reply is the client's response to a question; exactly one of the two is set.
type Reply struct {
	Result []byte // raw result object
	Error  []byte // raw JSON-RPC error object
}

// Question is a request to the client of a session that waits for its response.
type Question struct {
	session *Session
	id      []byte
	answer  chan Reply

	progress func(params []byte) // nil for nobody; guarded by the session's mu
}

// Ask makes a question. Its id is new in all sessions and names the node, so that any node can route the response
// (M-12). Give it back with [Question.Drop].
//
// Faults: NotFound, SESSION_NOT_FOUND if the session has ended; Exhausted, SESSION_QUESTION_LIMIT if 64 questions wait.
func (s *Session) Ask() (*Question, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended.Load():
		return nil, notFound()
	case len(s.questions) >= maxQuestions:
		return nil, fault.New(fault.Exhausted, ReasonQuestions, "Too many questions wait for the client.")
	}
	id := append([]byte{'"'}, s.manager.node...)
	id = append(strconv.AppendUint(append(id, '.'), s.manager.asked.Add(1), 10), '"')
	q := &Question{session: s, id: id, answer: make(chan Reply, 1)}
	s.questions = append(s.questions, q)
	return q, nil
}

// Answer gives the client's response to the question with the raw id and reports whether there is one. Unknown ids are
// normal: the question may have been taken back (M-37).
func (s *Session) Answer(id []byte, r Reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.questions {
		if bytes.Equal(q.id, id) {
			q.answer <- r // the only one: the question is known no more
			s.forgetQuestion(i)
			return true
		}
	}
	return false
}

// OnProgress has f called with the raw params of notifications/progress about the question, which carry its id as their
// token, until it is answered or dropped.
func (q *Question) OnProgress(f func(params []byte)) {
	q.session.mu.Lock()
	defer q.session.mu.Unlock()
	q.progress = f
}

// Progress gives the raw params of a notifications/progress of the client to the question that its token names. That there
// is none is normal.
func (s *Session) Progress(token, params []byte) {
	s.mu.Lock()
	var f func([]byte)
	for _, q := range s.questions {
		if bytes.Equal(q.id, token) {
			f = q.progress
		}
	}
	s.mu.Unlock()
	if f != nil {
		f(params)
	}
}

// ID is the raw id of the request, a JSON string.
func (q *Question) ID() []byte { return q.id }

// Answered gives the response, or is closed when the session has ended.
func (q *Question) Answered() <-chan Reply { return q.answer }

// Drop forgets the question: a response that comes later is unknown.
func (q *Question) Drop() {
	s := q.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.questions {
		if s.questions[i] == q {
			s.forgetQuestion(i)
			return
		}
	}
}

// forgetQuestion removes a question. The caller holds mu.
func (s *Session) forgetQuestion(i int) {
	last := len(s.questions) - 1
	s.questions[i] = s.questions[last]
	s.questions[last] = nil
	s.questions = s.questions[:last]
}
