// SPDX-License-Identifier: Apache-2.0

package condition_test

import (
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
)

// TestArguments: which names of arguments a condition reads, of the arguments themselves and below, and whether there may be others.
func TestArguments(t *testing.T) {
	for when, want := range map[string]string{
		`caller.user == "a"`:                                                     "none",
		`caller.claims.env == "a"`:                                               "none",
		`caller.teams.exists(args, args == "x")`:                                 "[] [] false", // another args
		`caller.teams.exists(args, .args.env == args)`:                           "[env] [] false",
		`args.env == "prod"`:                                                     "[env] [] false",
		`args["env"] == "prod"`:                                                  "[env] [] false",
		`has(args.env)`:                                                          "[env] [] false",
		`"env" in args`:                                                          "[env] [] false",
		`args.a.b["c"] == 1`:                                                     "[a] [c b] false",
		`args.list[0].env == "prod"`:                                             "[list] [env] false",
		`"k" in args.o`:                                                          "[o] [k] false",
		`args.env in ["dev", "prod"]`:                                            "[env] [] false",
		`args.env == caller.user`:                                                "[env] [] false",
		`args.team in caller.teams`:                                              "[team] [] false",
		`args.items.exists(i, i.env == "prod")`:                                  "[items] [env] false",
		`args.items.all(i, i.tags.exists(t, t.key == "k"))`:                      "[items] [tags key] false",
		`args.items.filter(i, i.ok).map(i, i.env).size() > 0`:                    "[items] [ok env] false",
		`args.items.exists(i, i == "prod")`:                                      "[items] [prod] false", // of a map, it is a name
		`args.items.exists(i, i in ["a", "b"])`:                                  "[items] [a b] false",
		`args.items.exists(i, i.startsWith("p"))`:                                "[items] [] true",
		`args.exists(k, k == "env")`:                                             "[] [env] true",
		`args[args.which] == 1`:                                                  "[which] [] true",
		`args[caller.user] == 1`:                                                 "[] [] true",
		`caller.user in args.users`:                                              "[users] [] true",
		`args.config == {"env": "prod"}`:                                         "[config] [env] false",
		`args.config == caller.claims.config`:                                    "[config] [] true",
		`(args.f ? args.a : args.b).c == 1`:                                      "[f a b] [c] false",
		`caller.claims.list.exists(i, i.env == 1) && args.x == 1`:                "[x] [] false",
		`caller.claims.list.exists(i, args.x.exists(j, j.y == 1 && i.z == "1"))`: "[x] [y] false",
	} {
		c, err := condition.Compile(when)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		got := "none"
		if n := c.Arguments(); n != nil {
			got = fmt.Sprint(n.Top, n.Inner, n.All)
		}
		if got != want {
			t.Errorf("%s reads %s, want %s", when, got, want)
		}
	}
}
