// SPDX-License-Identifier: Apache-2.0

package call

import (
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Steps of a call, in the words of penstock.resource.v1.ExplainedStep.
const (
	StepTool       = "tool"
	StepArguments  = "arguments"
	StepFixed      = "fixed_arguments"
	StepNames      = "argument_names"
	StepState      = "state"
	StepContext    = "context"
	StepPolicies   = "policies"
	StepApproval   = "approval"
	StepLimits     = "limits"
	StepCredential = "credential"
	StepResults    = "result_policies"
)

// Dry is a call that is not made (G-36): the rooms that it would pass are asked as they are for a call, and tell it what they would
// have done. It belongs to one goroutine. The nil Dry is that of a call that is made: nothing is kept, and a refusal ends the call.
type Dry struct {
	// ArgumentsUnknown says that the arguments are not known: none are checked.
	ArgumentsUnknown bool
	// Untrusted, if it is set, is the context in place of what the gateway takes it for, made so by Sources.
	Untrusted *bool
	Sources   []string
	Time      time.Time

	Steps []DryStep  // what was passed so far
	Tool  *view.Tool // what would run; nil if it was not found
	Close []string   // names of tools that may have been meant
}

// DryStep is what came of one step.
type DryStep struct {
	Name       string
	Err        error  // the refusal, as the call would get it; nil if the call passes
	Says       string // to people, of a call that passes; empty for nothing
	Unknown    string // why only the call itself could tell; empty if it is known
	Rules      []DryRule
	Limits     []DryLimit
	Credential *DryCredential
	Results    []DryResult
	Held       string // what the call would wait for; empty if it would not
}

// DryRule is what came of one policy.
type DryRule struct {
	compile.Look

	Decided bool
}

// DryResult is what would come of one result policy.
type DryResult struct {
	Policy  *compile.ResultPolicy
	Covers  bool  // it concerns results of the tool
	Matches bool  // of those that are looked at
	Decided bool  // it is the mark, or takes something out
	Err     error // why its condition could not be evaluated
}

// DryLimit is how far one rate limit is used up.
type DryLimit struct {
	*compile.RateLimit

	Team  string // that counts; empty for limits of something else
	Err   error  // the refusal, as a call would get it now
	Left  int    // how many could come at once now
	Known bool   // whether Left is; and whether a call would pass
}

// States of a credential.
const (
	CredentialNone       = "none"       // the server asks for none
	CredentialHeld       = "held"       // the node has a valid one
	CredentialUnresolved = "unresolved" // the node would ask the authserver
	CredentialMissing    = "missing"
)

// DryCredential is what a call would run with.
type DryCredential struct {
	Server     string
	Connection *view.Connection // nil if there is none
	Pinned     bool
	State      string
	AsCaller   bool // the server sees the caller, whatever the connection
}

// Step notes how a step ends and returns the fault that ends the call: of one that is not made none does.
func (d *Dry) Step(name string, err error) error {
	if d == nil {
		return err
	}
	d.at(name).Err = err
	return nil
}

// At returns the record of a step, made if need be; nil for a call that is made.
func (d *Dry) At(name string) *DryStep {
	if d == nil {
		return nil
	}
	return d.at(name)
}

func (d *Dry) at(name string) *DryStep {
	if n := len(d.Steps); n > 0 && d.Steps[n-1].Name == name {
		return &d.Steps[n-1]
	}
	d.Steps = append(d.Steps, DryStep{Name: name})
	return &d.Steps[len(d.Steps)-1]
}

// Assumed is what a caller would prove itself with, who does not.
type Assumed struct {
	// Token is the name of a static token; the rest is then left empty.
	Token string

	Kind   ident.Kind
	Name   string // e-mail address, team or client_id
	Method string // empty: the first that the gateway accepts
	Client string // client_id; of people only
	Scopes []string
}
