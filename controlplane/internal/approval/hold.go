// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Request is a call that a node asks about.
type Request struct {
	Gateway, GatewayUID string
	Tool, Policy        string
	Caller              Caller
	Arguments           []byte
	Confirmation        string // of the caller, if the caller approves
	Node                string
	Revision            uint64
	TraceID             string
	Look                bool // an approved call stays APPROVED; means nothing with a confirmation
}

// Held is what a node is told.
type Held struct {
	*Approval

	Run bool // this call runs, now: true for one answer about an approval
}

// tries bounds how often a call is looked at again that others changed meanwhile. Each further one needs another race that is lost.
const tries = 16

// Hold asks whether a call may run (see HoldCall of penstock.node.v1). Faults: Invalid, ARGUMENTS_INVALID; NotFound,
// APPROVAL_TARGET_NOT_FOUND; Precondition, APPROVAL_NOT_REQUIRED, APPROVAL_WITHOUT_APPROVER, APPROVAL_WITHOUT_KEY or CALLER_NOT_A_PERSON.
func (s *Service) Hold(ctx context.Context, r Request) (Held, error) {
	sum, err := Sum(r.Arguments)
	if err != nil {
		return Held{}, err
	}
	rule, err := s.rule(ctx, r)
	if err != nil {
		return Held{}, err
	}
	if rule.Confirmed {
		return s.confirm(ctx, r, rule.Call, sum)
	}
	key := keyOf(rule.Call, sum)
	for range tries {
		h, again, err := s.hold(ctx, r, rule, key, sum)
		if err != nil || !again {
			return h, err
		}
	}
	return Held{}, busy()
}

// hold looks once. Again says that the approval changed meanwhile, or that an old one has made room.
func (s *Service) hold(ctx context.Context, r Request, rule heldBy, key string, sum [32]byte) (h Held, again bool, err error) {
	a, err := s.c.Store.Live(ctx, key)
	if err != nil {
		return h, false, err
	}
	now := s.c.Now()
	switch {
	case a == nil:
		a = s.make(rule.Call, r.Arguments, sum, now)
		a.State, a.Key, a.Expire = Pending, key, now.Add(rule.ttl)
		added, err := s.add(ctx, a, EventCreated, s.c.Tell)
		return Held{Approval: a}, !added, err
	case a.over(now):
		_, err := s.expire(ctx, a.ID)
		return h, true, err
	case a.State == Pending, a.State == Approved && r.Look, a.State == Denied && now.Before(a.Expire):
		return Held{Approval: a}, false, nil
	case a.State == Approved:
		ran, err := s.c.Store.Run(ctx, a.ID, s.event(a.ID, EventRun, r.Node, "", now))
		if err != nil || !ran {
			return h, true, err
		}
		s.count(ctx, EventRun)
		s.tell(a.ID, Run)
		a.State, a.RunNode, a.RunTime, a.Key = Run, r.Node, now, ""
		return Held{Approval: a, Run: true}, false, nil
	default: // DENIED long ago, or EXPIRED
		released, err := s.c.Store.Release(ctx, a.ID)
		// The first that asks about a call which has just expired is told; who asks once more begins anew.
		told := released && a.State == Expired && now.Before(a.Expire.Add(RunWithin))
		return Held{Approval: a}, !told, err
	}
}

// confirm lets a call run that its caller has confirmed: once for each confirmation.
func (s *Service) confirm(ctx context.Context, r Request, call Call, sum [32]byte) (Held, error) {
	now := s.c.Now()
	a := s.make(call, nil, sum, now)
	a.State, a.Key, a.Expire = Run, "confirmation:"+r.Confirmation, now
	a.DecidedBy, a.DecideTime, a.RunNode, a.RunTime, a.Ends = call.Caller.Name, now, r.Node, now, now
	added, err := s.add(ctx, a, EventRun, false)
	if err != nil || added {
		return Held{Approval: a, Run: added}, err
	}
	before, err := s.c.Store.Live(ctx, a.Key)
	if err != nil {
		return Held{}, err
	}
	if before == nil { // nothing frees the key of a confirmation but time
		return Held{}, busy()
	}
	return Held{Approval: before}, nil
}

func (*Service) make(call Call, arguments []byte, sum [32]byte, now time.Time) *Approval {
	return &Approval{ID: uuid.NewString(), Call: call, Arguments: arguments, SHA256: sum, Create: now}
}

func (s *Service) add(ctx context.Context, a *Approval, kind string, send bool) (bool, error) {
	added, err := s.c.Store.Add(ctx, a, s.event(a.ID, kind, a.Call.Node, "", a.Create), send)
	if err == nil && added {
		s.count(ctx, kind)
	}
	return added, err
}

// expire ends an approval that is due, and reports whether it was this that did.
func (s *Service) expire(ctx context.Context, id string) (bool, error) {
	done, err := s.c.Store.Expire(ctx, id, s.event(id, EventExpired, "", "", s.c.Now()), s.c.Tell)
	if err != nil || !done {
		return false, err
	}
	s.count(ctx, EventExpired)
	s.tell(id, Expired)
	return true, nil
}

func (*Service) event(approval, kind, actor, how string, now time.Time) Event {
	id, err := uuid.NewV7() // in order of time: several events may have the same
	if err != nil {
		id = uuid.New()
	}
	return Event{ID: "evt_" + id.String(), Approval: approval, Kind: kind, Time: now, Actor: actor, How: how}
}

// keyOf is what calls that are the same have in common: whoever changes the policy or makes the gateway anew makes them others.
func keyOf(c Call, sum [32]byte) string {
	h := sha256.New()
	who := "uid:" + c.Caller.UID
	if c.Caller.UID == "" {
		who = "name:" + c.Caller.Name
	}
	for _, part := range []string{c.GatewayUID, c.PolicyUID, c.PolicyVersion, c.Caller.Kind, who, c.Caller.ClientID, c.Tool, string(sum[:])} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:]) // a hash never fails
		_, _ = h.Write([]byte(part))
	}
	return "call:" + hex.EncodeToString(h.Sum(nil))
}

func notFound() error {
	return fault.New(fault.NotFound, ReasonNotFound, "There is no such approval that you may see.")
}
