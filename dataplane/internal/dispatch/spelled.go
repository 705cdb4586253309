// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// spelled returns why the names of a call's arguments leave open what its policies decide about: the server may take one that they do
// not know for one that they read (G-31). It comes before them, so that nobody is asked about such a call.
func spelled(c *call.Caller, k *call.Call, t *target, dry *call.Dry) error {
	g := c.Gateway
	switch {
	case t.tool == nil:
		return nil
	case dry == nil:
	case !compile.ReadsArguments(g.Policies, g.ResultPolicies, t.tool.Server, t.tool.Upstream):
		return nil
	case dry.ArgumentsUnknown:
		dry.At(call.StepNames).Unknown = "No arguments were given, so that their names were not compared with those that policies read."
		return nil
	}
	return dry.Step(call.StepNames, compile.Misspelt(
		g.Policies, g.ResultPolicies, t.tool.Server, t.tool.Upstream, k.Message.P.Arguments.Of(k.Body), t.tool.Schema))
}
