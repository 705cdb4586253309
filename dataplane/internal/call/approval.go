// SPDX-License-Identifier: Apache-2.0

package call

import (
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Held is a tool call that a policy holds for an approval (G-34).
type Held struct {
	Gateway, GatewayUID string
	Tool                string // "<server>/<upstream name>"
	Policy              string // name
	Principal           ident.Principal
	Arguments           []byte // raw object, nil for none
	// Confirmation is the unguessable id of the question that the caller has answered with yes, where the caller approves; else empty.
	Confirmation string
	Revision     uint64
	TraceID      string // empty for none
	Look         bool   // nothing runs: an approved call stays approved
}

// ApprovalState is what has become of a held call.
type ApprovalState uint8

// The states of approvals.
const (
	ApprovalPending ApprovalState = iota + 1
	ApprovalApproved
	ApprovalDenied
	ApprovalExpired
	ApprovalRun // approved, and a node was told to run it
)

// Approval is what the control plane says of a held call.
type Approval struct {
	ID        string
	State     ApprovalState
	Run       bool      // this call runs, now: true for one answer about an approval, ever
	Expires   time.Time // zero if it is not known
	Reason    string    // of who decided, for the caller; may be empty
	Approvers []string  // who can decide, for people
}

// Again finds out anew who makes a request, for what has to be decided again after a person was waited for.
type Again interface {
	// Again returns the caller by the newest snapshot. The fault is Denied or Unauthenticated if it may not use the gateway any more.
	Again(c Caller) (Caller, error)
}
