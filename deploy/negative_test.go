// SPDX-License-Identifier: Apache-2.0

package deploy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// proof is where a negative case of auth.md §16 is shown: a function of a test file, and the text in it that begins the row.
type proof struct {
	file, function, row string
}

// Files that prove several cases.
const (
	assertions = "authserver/internal/tokens/idjag_test.go"
	once       = "authserver/internal/tokens/idjag_once_test.go"
	oneRequest = "dataplane/rs_test.go"
	access     = "dataplane/internal/authn/access_test.go"
	streams    = "dataplane/rs_streams_test.go"
	told       = "dataplane/rs_secrets_test.go"
	asking     = "dataplane/internal/dispatch/connect_test.go"
	upstreams  = "authserver/internal/upstream/grant_test.go"
	page       = "authserver/internal/connect/connect_test.go"
	exchanged  = "authserver/internal/exchange/idjag_test.go"
	callback   = "authserver/internal/connect/oauth_test.go"
)

// negativeCases names for each number of "ID-JAG", "Gateway (RS)" and "Elicitation / upstream" in auth.md §16, and for each input
// that it lists, the row that sends it and compares the answer.
func negativeCases() map[int][]proof {
	jag := func(rows ...string) (all []proof) {
		for _, row := range rows {
			all = append(all, proof{assertions, "TestAssertions", row})
		}
		return all
	}
	rs := func(rows ...string) (all []proof) {
		for _, row := range rows {
			all = append(all, proof{oneRequest, "rsRows", row})
		}
		return all
	}
	judged := func(rows ...string) (all []proof) {
		for _, row := range rows {
			all = append(all, proof{access, "TestAccessTokens", row})
		}
		return all
	}
	retried := func(rows ...string) (all []proof) {
		for _, row := range rows {
			all = append(all, proof{asking, "TestRetry", row})
		}
		return all
	}
	return map[int][]proof{
		106: jag(`"106", name: "untrusted iss"`),
		107: jag(`"107", "aud the token endpoint"`, `"107", "aud another server"`, `"107", "aud two"`, `"107", "aud with a slash"`),
		109: append(jag(`"109", "no jti"`), proof{once, "assertionsParallel", "const all = 20"}, proof{once, "TestAssertionReplayed", "ReasonAssertionReplayed"}),
		110: jag(`"110", "exp missing"`, `"110", "two hours"`, `"110", "expired 61 s ago"`, `"110", "iat 2 min ahead"`),
		112: jag(`"112", "parameter differs"`),
		113: jag(`"113", "scope a list"`),
		115: jag(`"115", name: "alg none"`, `"115", name: "HS256 with the public key"`, `"115", name: "DER"`),
		116: jag(`"116", "header jwk"`, `"116", "header jku"`),
		118: jag(`"118", "ID token"`),
		119: jag(`"119", "cnf"`),
		121: jag(`"121", "another tenant"`),
		122: jag(`"122", "address of somebody, unknown sub, linking off"`),
		124: {{once, "TestAssertionStoreAway", "503"}},
		125: {{exchanged, "TestIdentityAssertionRefusals", `"access token (§16 125)"`}, {exchanged, "TestIdentityAssertionRefusals", `"access token without a type (§16 125)"`}},
		127: rs(`"N127", "Basic"`, `"Bearer without a token"`, `"two headers"`),
		128: append(rs(`"token in the query"`), proof{told, "TestTokensAreNotTold", "?access_token="}),
		130: append(rs(`"N130", "token for B"`, `"N130", "audience of two"`), judged(`"audience a list (N130)"`)...),
		131: append(rs(`"N131", "refresh token"`, `"N131", "ID-JAG"`, `"N131", "logout token"`), judged(`an id_token (N131)`)...),
		133: judged(`"public key as HMAC secret (N133)"`, `"alg none (N133)"`),
		134: judged(`"kid with a path (N134)"`, `"kid of 10 KiB (N134)"`, `"kid with SQL (N134)"`, `len(s.asked)`),
		136: {{oneRequest, "TestResourceServerScopes", `"step up (RS-5, N136)"`}},
		137: {{streams, "TestLeftTheTeam", "gateway_access_denied"}, {streams, "TestStreamsEndWithTheirToken", `"out of the team (N137)"`}},
		139: {
			{streams, "rsStreams", `"subscriptions/listen"`},
			{streams, "rsStreams", `"legacy GET"`},
			{streams, "rsStreams", `"HTTP+SSE"`},
			{streams, "TestStreamsEndWithTheirToken", `"expired"`},
		},
		140: {{oneRequest, "TestResourceServerPassesNothingOn", "X-Forwarded-User: admin"}, {streams, "TestSessionsAreNoCredentials", `"another user"`}, {streams, "TestSessionsAreNoCredentials", "at /messages"}},
		142: {{told, "TestEchoHoldsNoToken", "X-Echo-"}},
		143: rs(`"N143", "Origin"`),
		145: rs(`"N145", "wrong checksum"`, `"N145", "expired"`, `"N145", "owner disabled"`, `"N145", "gateway not on its list"`),
		146: rs(`"N146", "static tokens off"`),
		148: {{told, "TestControlCharactersInTokens", `"CR LF"`}, {"dataplane/internal/edge/problem/problem_test.go", "FuzzChallenge", `error="x`}},
		149: {{page, "TestForeignLink", "elicitation.user_mismatch"}, {callback, "TestCallbackRefusals", `"somebody else is logged in"`}},
		151: retried(`"a bit flipped (151)"`, `"another user's (151)"`, `"other arguments (151)"`),
		152: {{asking, "TestConnect", `"2025-11-25 without url (152)"`}, {asking, "TestConnect", `"2026-07-28 with forms (152)"`}},
		154: {{"dataplane/internal/dispatch/choose_test.go", "TestWhoseConnection", "CREDENTIAL_REQUIRES_USER"}},
		155: {{"dataplane/refused_test.go", "TestRefusedByUpstream", `"refused twice (155)"`}},
		157: {{upstreams, "TestRefusals", `"issuer of another"`}, {upstreams, "TestRefusals", `"plain token endpoint"`}, {upstreams, "TestRefusals", `"private token endpoint"`}, {callback, "TestDepart", "UPSTREAM_INSECURE"}},
		158: {{"authserver/internal/upstream/resolve_test.go", "refreshOnce", "refreshes"}, {"deploy/e2e/grants/grants_test.go", "TestGrantOfRealServer", "refreshes, want 1"}},
		160: {{"authserver/internal/exchange/onbehalfof_test.go", "TestOnBehalfOfStepUp", "no retry storm"}},
	}
}

// TestNegativeCases holds the set of §16: a case whose row is renamed or removed says so here, and none of the three sections is
// without one.
func TestNegativeCases(t *testing.T) {
	want := []int{
		106, 107, 109, 110, 112, 113, 115, 116, 118, 119, 121, 122, 124, 125, // ID-JAG
		127, 128, 130, 131, 133, 134, 136, 137, 139, 140, 142, 143, 145, 146, 148, // Gateway (RS)
		149, 151, 152, 154, 155, 157, 158, 160, // Elicitation / upstream
	}
	cases := negativeCases()
	if got := slices.Sorted(maps.Keys(cases)); !slices.Equal(got, want) {
		t.Errorf("the cases are %v, want %v", got, want)
	}
	read := map[string]map[string]string{} // by file, then by function
	for n, proofs := range cases {
		for _, p := range proofs {
			if read[p.file] == nil {
				read[p.file] = functionsOf(t, p.file)
			}
			text, ok := read[p.file][p.function]
			if !ok {
				t.Errorf("%d: %s has no function %s", n, p.file, p.function)
			} else if !strings.Contains(text, p.row) {
				t.Errorf("%d: %s of %s has no row %s", n, p.function, p.file, p.row)
			}
		}
	}
}

// functionsOf returns the text of each function of a file of the repository.
func functionsOf(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]string{}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			functions[f.Name.Name] = string(text[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset])
		}
	}
	if len(functions) == 0 {
		t.Fatal(fmt.Errorf("%s has no functions", file))
	}
	return functions
}
