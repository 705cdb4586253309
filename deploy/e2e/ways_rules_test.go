// SPDX-License-Identifier: Apache-2.0

package e2e_test

import "testing"

// wayCall is a call, and whose it is.
type wayCall struct{ who, arguments string }

// wayRule is a row of [TestEveryWayToATool]: something that is said of calls, a call that it stops and one that it does not.
type wayRule struct {
	name       string
	when       string // condition of a policy of the two gateways
	action     string // of the policy, and its other lines; empty for none
	mark       string // of a result policy of the two gateways, and its other lines; empty for none
	gateway    string // lines of the manifest of each gateway
	assignment string // fields of each assignment, with a comma behind
	runs       wayCall
	stopped    wayCall
	words      string // of the refusal
	fixed      string // arguments that the server gets of the call that runs; empty for any
	secret     string // what no answer to the call that is stopped may have

	// audited is what the audit has of the call that runs and of the one that is stopped: outcome, reason, policy, action.
	audited [2]string

	// tried says that the policies' test decides the two calls as a node does: the rule depends on arguments only.
	tried bool

	// check is a cell, if not [ways.cell].
	check func(w *ways, t *testing.T, r wayRule, e wayEntry, c talk)
}

const (
	refusedWay   = `The policy "ways" refuses this call: Not this way.`
	withheldWay  = `The policy "ways" withholds this result: Not this way.`
	otherNameWay = `it has "Label", which a server may take for "label"; write "label"`

	noOneAllows = "This gateway refuses calls that no policy allows."
)

// What the audit has of a call. That a tool runs on as a task is said in place of "ok".
const (
	auditedOK      = "ok   "
	auditedAllowed = "ok   ALLOW"
	auditedByWays  = "ok  ways ALLOW"
	auditedBlocked = "refused POLICY_BLOCKED ways BLOCK"
	auditedNoOne   = "refused POLICY_BLOCKED  BLOCK"

	auditedMisspelt = "refused TOOL_ARGUMENTS_INVALID  "
)

func wayRules() []wayRule {
	const dev, prod, hush = `{"label":"dev"}`, `{"label":"prod"}`, `{"label":"hush-4711"}`
	blocked, misspelt := [2]string{auditedAllowed, auditedBlocked}, [2]string{auditedAllowed, auditedMisspelt}
	return []wayRule{
		{
			name: "scalar", tried: true, when: `args.label == "prod"`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: refusedWay,
		},
		{
			name: "array element", tried: true, when: `args.items.exists(i, i.env == "prod")`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", `{"label":"a","items":[{"env":"dev"},{}]}`}, stopped: wayCall{"ada", `{"label":"a","items":[{"env":"dev"},{"env":"prod"}]}`}, words: refusedWay,
		},
		{
			name: "missing argument", tried: true, when: `args.label != "prod"`, action: "ALLOW", gateway: "default_action: BLOCK\n", audited: [2]string{auditedByWays, auditedNoOne},
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{}`}, words: noOneAllows,
		},
		{
			name: "regular expression", tried: true, when: `args.label.matches("^p(ro|re)d$")`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", `{"label":"prods"}`}, stopped: wayCall{"ada", prod}, words: refusedWay,
		},
		{
			name: "name that stands twice", tried: true, when: `args.label == "prod"`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"label":"dev","label":"prod"}`}, words: refusedWay,
		},
		{
			name: "name that stands twice below", tried: true, when: `args.items.exists(i, i.env == "prod")`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", `{"label":"a","items":[{"env":"dev"}]}`}, stopped: wayCall{"ada", `{"label":"a","items":[{"env":"dev","env":"prod"}]}`}, words: refusedWay,
		},
		{
			name: "name in another letter case", tried: true, when: `args.label == "prod"`, action: "BLOCK", audited: misspelt,
			runs: wayCall{"ada", `{"label":"dev","items":[{"Label":"prod"}]}`}, stopped: wayCall{"ada", `{"Label":"prod"}`}, words: otherNameWay,
		},
		{
			name: "name in two letter cases", tried: true, when: `args.label != "dev"`, action: "BLOCK", audited: misspelt,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"label":"dev","\u004cABEL":"prod"}`}, words: `it has "LABEL", which a server may take for "label"; write "label"`,
		},
		{
			name: "name in another letter case, allowed by default", tried: true, when: `args.label != "prod"`, action: "ALLOW", gateway: "default_action: BLOCK\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"label":"dev","Label":"prod"}`}, words: otherNameWay, audited: [2]string{auditedByWays, auditedMisspelt},
		},
		{
			name: "name in another letter case below", tried: true, when: `args.items.exists(i, i.env == "prod")`, action: "BLOCK", audited: misspelt,
			runs: wayCall{"ada", `{"label":"a","items":[{"env":"dev"}]}`}, stopped: wayCall{"ada", `{"label":"a","items":[{"env":"dev"},{"ENV":"prod"}]}`},
			words: `$.items[1]: it has "ENV", which a server may take for "env"; write "env"`,
		},
		{
			name: "name in another letter case, held", tried: true, when: `args.label == "prod"`, action: "REQUIRE_APPROVAL\napprovers: {users: [bob@penstock.test]}",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"Label":"prod"}`}, words: otherNameWay, audited: misspelt,
		},
		{
			name: "name in another letter case, of a result", tried: true, mark: "BLOCK\nwhen: 'args.label == \"hush-4711\"'",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"Label":"hush-4711"}`}, words: otherNameWay, audited: [2]string{auditedOK, auditedMisspelt},
		},
		{
			name: "team", when: `!("wayfarers" in caller.teams)`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", prod}, stopped: wayCall{"bob", prod}, words: refusedWay,
		},
		{
			name: "labels and claims", when: `!(caller.claims.sub == "ada") && tool.labels.env == "prod" || caller.email != "ada@penstock.test"`, action: "BLOCK",
			runs: wayCall{"ada", prod}, stopped: wayCall{"bob", prod}, words: refusedWay, audited: blocked,
		},
		{
			name: "untrusted context", when: `args.label == "prod"`, action: "BLOCK_IF_UNTRUSTED", gateway: "untrusted_context: ALWAYS_UNTRUSTED\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: refusedWay,
			audited: [2]string{auditedAllowed, "refused POLICY_BLOCKED ways BLOCK_IF_UNTRUSTED"},
		},
		{
			name: "trusted context", when: `args.label == "prod"`, action: "BLOCK_IF_UNTRUSTED", gateway: "untrusted_context: NEVER\n",
			runs: wayCall{"ada", prod}, audited: [2]string{auditedAllowed},
		},
		{
			name: "context that reads what is untrusted", when: `args.label == "prod"`, action: "BLOCK_IF_UNTRUSTED\ntools: [up__act, up__link, up__work, jobs__slow_compute]",
			mark: "UNTRUSTED\ntools: [up__news]", gateway: "untrusted_context: TRACK\n", check: (*ways).reads,
			stopped: wayCall{"ada", prod}, words: refusedWay, audited: [2]string{auditedAllowed, "refused POLICY_BLOCKED ways BLOCK_IF_UNTRUSTED"},
		},
		{
			name: "default action", when: `"wayfarers" in caller.teams`, action: "ALLOW", gateway: "default_action: BLOCK\n", audited: [2]string{auditedByWays, auditedNoOne},
			runs: wayCall{"ada", dev}, stopped: wayCall{"bob", dev}, words: noOneAllows,
		},
		{
			name: "shadow", when: `args.label == "prod"`, action: "BLOCK\nmode: SHADOW", runs: wayCall{"ada", prod}, audited: [2]string{auditedAllowed},
		},
		{
			name: "approval", when: `args.label == "prod"`, action: "REQUIRE_APPROVAL\napprovers: {users: [bob@penstock.test]}", check: (*ways).held,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: "holds this call",
			audited: [2]string{auditedAllowed, "refused APPROVAL_REQUIRED ways REQUIRE_APPROVAL"},
		},
		{
			name: "approval of the caller", when: `args.label == "prod"`, action: "REQUIRE_APPROVAL\napprovers: {caller: {}}",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: "this client cannot ask",
			audited: [2]string{auditedAllowed, "refused APPROVAL_CANNOT_ASK ways REQUIRE_APPROVAL"},
		},
		{
			name: "rate limit", gateway: "rate_limits:\n- {per: TOKEN, tool_calls: 1, period: 86400s, burst: 1}\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", dev}, words: "is used up. Try again in", audited: [2]string{auditedOK, "refused RATE_LIMITED  "},
		},
		{
			name: "fixed arguments", tried: true, assignment: "fixed_arguments: {label: dev}, ",
			runs: wayCall{"ada", `{"label":"prod","\u006cabel":"prod","Label":"prod","LA_BEL":"prod"}`}, fixed: dev, audited: [2]string{auditedOK},
		},
		{
			name: "fixed arguments under a policy", tried: true, assignment: "fixed_arguments: {label: dev}, ",
			when: `args.label != "dev" || args.items[0] == 1`, action: "BLOCK", audited: blocked,
			runs: wayCall{"ada", `{"Label":"prod"}`}, fixed: dev, stopped: wayCall{"ada", `{"items":[1]}`}, words: refusedWay,
		},
		{
			name: "result that is blocked", mark: "BLOCK\nwhen: 'args.label == \"hush-4711\"'", check: (*ways).withheld,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", hush}, secret: "hush-4711", words: withheldWay,
			audited: [2]string{auditedOK, "fault RESULT_BLOCKED ways BLOCK"},
		},
		{
			name: "results that are all blocked", mark: "BLOCK", check: (*ways).withheld,
			stopped: wayCall{"ada", hush}, secret: "hush-", words: withheldWay, audited: [2]string{1: "fault RESULT_BLOCKED ways BLOCK"},
		},
		{
			name: "result that is redacted", mark: "REDACT\nredact: ['hush-[a-z0-9]+']", check: (*ways).withheld,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", hush}, secret: "hush-", audited: [2]string{auditedOK, auditedOK},
		},
	}
}
