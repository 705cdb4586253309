// SPDX-License-Identifier: Apache-2.0

package e2e_test

// wayCall is a call, and whose it is.
type wayCall struct{ who, arguments string }

// wayRule is a row of [TestEveryWayToATool]: something that is said of calls, a call that it stops and one that it does not.
type wayRule struct {
	name       string
	when       string // condition of a policy of the two gateways
	action     string // of the policy; empty for none
	gateway    string // lines of the manifest of each gateway
	assignment string // fields of each assignment, with a comma behind
	limits     bool   // what is stopped is the second call with one token
	runs       wayCall
	stopped    wayCall
	words      string // of the refusal
	fixed      string // arguments that the server gets of the call that runs; empty for any
}

const refusedWay = `The policy "ways" refuses this call: Not this way.`

func wayRules() []wayRule {
	const dev, prod = `{"label":"dev"}`, `{"label":"prod"}`
	return []wayRule{
		{
			name: "scalar", when: `args.label == "prod"`, action: "BLOCK",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: refusedWay,
		},
		{
			name: "array element", when: `args.items.exists(i, i.env == "prod")`, action: "BLOCK",
			runs: wayCall{"ada", `{"label":"a","items":[{"env":"dev"},{}]}`}, stopped: wayCall{"ada", `{"label":"a","items":[{"env":"dev"},{"env":"prod"}]}`}, words: refusedWay,
		},
		{
			name: "missing argument", when: `args.label != "prod"`, action: "ALLOW", gateway: "default_action: BLOCK\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{}`}, words: "This gateway refuses calls that no policy allows.",
		},
		{
			name: "regular expression", when: `args.label.matches("^p(ro|re)d$")`, action: "BLOCK",
			runs: wayCall{"ada", `{"label":"prods"}`}, stopped: wayCall{"ada", prod}, words: refusedWay,
		},
		{
			name: "name that stands twice", when: `args.label == "prod"`, action: "BLOCK",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", `{"label":"dev","label":"prod"}`}, words: refusedWay,
		},
		{
			name: "team", when: `!("wayfarers" in caller.teams)`, action: "BLOCK",
			runs: wayCall{"ada", prod}, stopped: wayCall{"bob", prod}, words: refusedWay,
		},
		{
			name: "labels and claims", when: `!(caller.claims.sub == "ada") && tool.labels.env == "prod" || caller.email != "ada@penstock.test"`, action: "BLOCK",
			runs: wayCall{"ada", prod}, stopped: wayCall{"bob", prod}, words: refusedWay,
		},
		{
			name: "untrusted context", when: `args.label == "prod"`, action: "BLOCK_IF_UNTRUSTED", gateway: "untrusted_context: ALWAYS_UNTRUSTED\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", prod}, words: refusedWay,
		},
		{
			name: "trusted context", when: `args.label == "prod"`, action: "BLOCK_IF_UNTRUSTED", gateway: "untrusted_context: NEVER\n",
			runs: wayCall{"ada", prod},
		},
		{
			name: "default action", when: `"wayfarers" in caller.teams`, action: "ALLOW", gateway: "default_action: BLOCK\n",
			runs: wayCall{"ada", dev}, stopped: wayCall{"bob", dev}, words: "This gateway refuses calls that no policy allows.",
		},
		{
			name: "shadow", when: `args.label == "prod"`, action: "BLOCK\nmode: SHADOW", runs: wayCall{"ada", prod},
		},
		{
			name: "rate limit", gateway: "rate_limits:\n- {per: TOKEN, tool_calls: 1, period: 86400s, burst: 1}\n", limits: true,
			runs: wayCall{"ada", dev}, stopped: wayCall{"ada", dev}, words: "is used up. Try again in",
		},
		{
			name: "fixed arguments", assignment: "fixed_arguments: {label: dev}, ",
			runs: wayCall{"ada", `{"label":"prod","\u006cabel":"prod"}`}, fixed: dev,
		},
		{
			name: "fixed arguments under a policy", assignment: "fixed_arguments: {label: dev}, ",
			when: `args.label != "dev" || args.items[0] == 1`, action: "BLOCK",
			runs: wayCall{"ada", prod}, fixed: dev, stopped: wayCall{"ada", `{"items":[1]}`}, words: refusedWay,
		},
	}
}
