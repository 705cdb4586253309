// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const maxReason = 512

// Decide approves or denies a call. Of several decisions the first counts. Answer, if it is not nil, is stored with the decision, as
// what a message that brought it is answered with; it is asked for once the decision is known to be allowed. Faults: NotFound,
// APPROVAL_NOT_FOUND; Denied, NOT_AN_APPROVER or OWN_CALL; Precondition, APPROVAL_DECIDED, APPROVAL_OUTDATED or, to approve,
// APPROVAL_UNREADABLE; Invalid for a reason that is too long or cannot be printed.
func (s *Service) Decide(ctx context.Context, d Decision, answer func(*Approval) (*Answer, error)) (*Approval, error) {
	if err := checkReason(d.Reason); err != nil {
		return nil, err
	}
	a, err := s.c.Store.Get(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	if a == nil || a.Call.Confirmed {
		return nil, notFound()
	}
	if d.By, err = s.judge(ctx, a, d); err != nil {
		return nil, err
	}
	now := s.c.Now()
	if a.over(now) {
		if _, err := s.expire(ctx, a.ID); err != nil {
			return nil, err
		}
		return nil, s.decided(ctx, d.ID)
	}
	if a.State != Pending {
		return nil, s.decided(ctx, d.ID)
	}
	if d.Approve && a.Unreadable != nil {
		return nil, fault.New(fault.Precondition, ReasonUnreadable,
			"The arguments of the call do not open, so that nobody can say what would run. Deny it, or have an operator put back the key file (approvals.keyset) that sealed them.").
			Because(a.Unreadable)
	}
	kind, until := EventDenied, a.Expire
	next := *a
	next.State, next.DecidedBy, next.DecideTime, next.Reason = Denied, d.By, now, d.Reason
	if d.Approve {
		kind, until, next.State = EventApproved, now.Add(RunWithin), Approved
	} else {
		next.Arguments, next.Ends = nil, now
	}
	next.Expire = until
	var text *Answer
	if answer != nil {
		if text, err = answer(&next); err != nil {
			return nil, err
		}
	}
	done, err := s.c.Store.Decide(ctx, d, until, s.event(a.ID, kind, d.By, d.How, now), s.c.Tell, text)
	if err != nil {
		return nil, err
	}
	if !done {
		return nil, s.decided(ctx, d.ID)
	}
	s.count(ctx, kind)
	s.tell(a.ID, next.State)
	return &next, nil
}

func checkReason(reason string) error {
	if utf8.RuneCountInString(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fault.New(fault.Invalid, resource.ReasonInvalidField, "The reason is one line of at most 512 printable characters.").At("reason", "is too long, or cannot be printed")
	}
	return nil
}

// judge checks that a person may decide about a call whose policy is as it was, and returns the person's e-mail address.
func (s *Service) judge(ctx context.Context, a *Approval, d Decision) (by string, err error) {
	err = s.c.Resources.Read(ctx, func(_ catalog.Head, reader catalog.Reader) error {
		dk := desk.New(reader, catalog.Caller{System: true})
		u, err := desk.Find[*resource.User](ctx, dk, resource.KindUser, resource.NormalizeName(resource.KindUser, d.By))
		if err != nil {
			return err
		}
		if u == nil || u.Deactivated {
			return fault.New(fault.Denied, ReasonNotApprover, "Only an active user decides about a call.")
		}
		by = u.Name
		if a.Call.by(u) {
			return fault.New(fault.Denied, ReasonOwnCall, "Nobody decides about a call of their own; ask another approver.")
		}
		may, err := decides(ctx, dk, &a.Call, u)
		if err != nil {
			return err
		}
		if !may {
			return fault.New(fault.Denied, ReasonNotApprover, "You are no approver of this call, nor an ADMIN of the organisation.")
		}
		if a.State != Pending {
			return nil
		}
		return current(ctx, dk, &a.Call)
	})
	return by, err
}

// decides reports whether a user who is not the caller may decide about a call, by roles and teams as they are now.
func decides(ctx context.Context, d *desk.Desk, c *Call, u *resource.User) (bool, error) {
	if u.Deactivated || c.by(u) {
		return false, nil
	}
	if u.Role == resource.RoleAdmin || slices.Contains(c.Users, u.Name) {
		return true, nil
	}
	teams, err := teamsOf(ctx, d, c)
	return slices.ContainsFunc(teams, func(t *resource.Team) bool {
		return slices.ContainsFunc(t.Members, func(m resource.TeamMember) bool { return m.User == u.Name && m.Role == resource.RoleAdmin })
	}), err
}

// current refuses to decide about a call that could not run any more, because the approval would be of an earlier policy or gateway.
func current(ctx context.Context, d *desk.Desk, c *Call) error {
	p, version, err := policyOf(ctx, d, c.Policy)
	if err != nil {
		return err
	}
	if p == nil || p.UID != c.PolicyUID || version != c.PolicyVersion || !asks(p) {
		return fault.Newf(fault.Precondition, ReasonOutdated, "The policy %q has changed since the call; it has to be made again.", c.Policy)
	}
	g, err := desk.Find[*resource.Gateway](ctx, d, resource.KindGateway, c.Gateway)
	if err != nil {
		return err
	}
	if g == nil || g.UID != c.GatewayUID {
		return fault.Newf(fault.Precondition, ReasonOutdated, "The gateway %q has been deleted since the call.", c.Gateway)
	}
	return nil
}

// decided says by whom and when an approval was decided.
func (s *Service) decided(ctx context.Context, id string) error {
	a, err := s.c.Store.Get(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case a == nil:
		return notFound()
	case a.DecidedBy == "":
		return fault.Newf(fault.Precondition, ReasonDecided, "The approval expired at %s.", a.Expire.UTC().Format(time.RFC3339))
	}
	did := "denied"
	if a.State != Denied {
		did = "approved"
	}
	text := fmt.Sprintf("The call was %s by %s at %s", did, a.DecidedBy, a.DecideTime.UTC().Format(time.RFC3339))
	switch a.State {
	case Run:
		text += " and has run"
	case Expired:
		text += " and was not run in time"
	case Pending, Approved, Denied:
	}
	return fault.New(fault.Precondition, ReasonDecided, text+".")
}

// Viewer is who reads approvals.
type Viewer struct {
	Email string
	Admin bool
}

// Get returns an approval with its events. Who may not see it gets NotFound, as for one that there is not: ADMINs see all, others
// what they may decide and what they asked for.
func (s *Service) Get(ctx context.Context, v Viewer, id string) (*Approval, []Event, error) {
	a, err := s.c.Store.Get(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if a == nil {
		return nil, nil, notFound()
	}
	seen, err := s.visible(ctx, v, []*Approval{a}, true)
	if err != nil {
		return nil, nil, err
	}
	if len(seen) == 0 {
		return nil, nil, notFound()
	}
	events, err := s.c.Store.Events(ctx, id)
	return a, events, err
}

// scanned is how many approvals are read at once to fill a page.
const scanned = 200

// List returns a page of the approvals that a viewer may decide, of all for an ADMIN. Limit is the size of the page. More says that
// something may follow it.
func (s *Service) List(ctx context.Context, v Viewer, q Query) (page []*Approval, more bool, err error) {
	size := q.Limit
	for q.Limit = max(size+1, scanned); ; {
		found, err := s.c.Store.List(ctx, q)
		if err != nil {
			return nil, false, err
		}
		seen, err := s.visible(ctx, v, found, false)
		if err != nil {
			return nil, false, err
		}
		page = append(page, seen...)
		if len(page) > size {
			return page[:size], true, nil
		}
		if len(found) < q.Limit {
			return page, false, nil
		}
		last := found[len(found)-1]
		q.Before = &Mark{last.Create, last.ID}
	}
}

// visible returns which approvals a viewer sees, with own also those of the viewer's own calls.
func (s *Service) visible(ctx context.Context, v Viewer, list []*Approval, own bool) (out []*Approval, err error) {
	if v.Admin || len(list) == 0 {
		return list, nil
	}
	err = s.c.Resources.Read(ctx, func(_ catalog.Head, reader catalog.Reader) error {
		out = nil
		d := desk.New(reader, catalog.Caller{System: true})
		u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, v.Email)
		if err != nil || u == nil {
			return err
		}
		for _, a := range list {
			may, err := decides(ctx, d, &a.Call, u)
			if err != nil {
				return err
			}
			if may || own && a.Call.by(u) {
				out = append(out, a)
			}
		}
		return nil
	})
	return out, err
}
