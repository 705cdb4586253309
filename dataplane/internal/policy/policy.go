// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Input is one call of a tool.
type Input struct {
	Snapshot  *view.Snapshot
	Gateway   *view.Gateway // of Snapshot
	Tool      *view.Tool    // of Gateway; nil for results that may stem from several of them
	Server    string        // where Tool is nil
	Judged    string        // of a task: Judged of its call
	Caller    ident.Principal
	Arguments []byte // a JSON object; nil for none

	Untrusted      bool     // the context (G-33)
	Sources        []string // servers whose results made it so
	SourcesUnknown bool     // there may be others

	Headers map[string][]string // of the request, that the gateway passes through
	Time    time.Time
	Region  string // of the node
}

// Decide decides the call. Without policies and with the default that lets all run, it costs nothing.
func Decide(in *Input, w compile.Watcher) compile.Decision {
	if len(in.Gateway.Policies) == 0 {
		return compile.Decide(nil, nil, in.Gateway.BlockUnmatched, w)
	}
	return compile.Decide(in.Gateway.Policies, in.facts(), in.Gateway.BlockUnmatched, w)
}

// Foreseen decides a call whose arguments and headers are not known: whatever they are, it is refused by what is returned. ok is false
// where that depends on them, or where the call is not refused. What an approval would let through is not refused.
func Foreseen(in *Input) (d compile.Decision, ok bool) {
	var sure []*compile.Policy
	rest := false // a policy that covers the tool may allow it
	for _, p := range in.Gateway.Policies {
		switch {
		case p.Shadow || !p.Covers(in.Tool.Server, in.Tool.Upstream):
		case p.Names(condition.NameArguments) || p.Names(condition.NameHeaders):
			rest = true
		default:
			sure = append(sure, p)
		}
	}
	if len(sure) == 0 && (rest || !in.Gateway.BlockUnmatched) {
		return d, false
	}
	d = compile.Decide(sure, in.facts(), in.Gateway.BlockUnmatched, nobody{})
	return d, d.Action == compile.ActionBlock && (d.Policy != nil || !rest)
}

// nobody is told what happens beside a decision.
type nobody struct{}

// Would implements compile.Watcher.
func (nobody) Would(*compile.Policy) {}

// Failed implements compile.Watcher.
func (nobody) Failed(*compile.Policy, error) {}

// facts gathers what conditions look at.
func (in *Input) facts() *condition.Facts {
	f := &condition.Facts{
		AuthMethod: in.Caller.Method, Client: in.Caller.ClientID, Token: in.Caller.TokenID,
		Gateway: in.Gateway.Name, GatewayLabels: in.Gateway.Labels,
		Untrusted: in.Untrusted, Sources: in.Sources, SourcesUnknown: in.SourcesUnknown,
		Claims: in.Caller.Claims, Headers: in.Headers, Time: in.Time, Region: in.Region,
	}
	if in.Tool != nil {
		f.Server, f.Tool, f.Definition, f.Arguments = in.Tool.Server, in.Tool.Upstream, in.Tool.Body, in.Arguments
	} else {
		f.Server, f.Partial = in.Server, true
	}
	if s := in.Snapshot.Server(f.Server); s != nil {
		f.ToolLabels = s.Labels
	}
	// Teams and roles are of the caller as the view has them, never of a token's claims; a token of a team is in that team, and those
	// of the organisation and of service accounts are in none (G-32).
	in.Snapshot.Teams(in.Caller, func(t *view.Team) { f.Teams = append(f.Teams, t.Name) })
	if in.Caller.Kind == ident.KindUser {
		f.User, f.Email = in.Caller.UID, in.Caller.Name
		if u := in.Snapshot.User(in.Caller.Name); u != nil {
			f.Roles = []string{u.Role}
		}
	}
	return f
}
