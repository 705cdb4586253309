// SPDX-License-Identifier: Apache-2.0

package oauthrule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxKeySet is the longest key set, in bytes.
const maxKeySet = 64 << 10

// KeySetProblems says what is wrong with a JSON Web Key Set (RFC 7517), one text each; none if nothing is. It holds
// public keys only, so that no private one is stored or sent on.
func KeySetProblems(text string) []string {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil || len(text) > maxKeySet {
		return []string{`it is not the JSON of a key set of at most 64 KiB: {"keys": [...]}`}
	}
	if len(set.Keys) == 0 {
		return []string{"it holds no key"}
	}
	var problems []string
	for i, key := range set.Keys {
		if text := keyProblem(key); text != "" {
			problems = append(problems, fmt.Sprintf("key %d %s", i, text))
		}
	}
	return problems
}

func keyProblem(key map[string]json.RawMessage) string {
	var kty string
	_ = json.Unmarshal(key["kty"], &kty) // what is no text is no known type
	needs := publicMembers(kty)
	lacks := func(member string) bool {
		var value string
		return json.Unmarshal(key[member], &value) != nil || value == ""
	}
	private := func(member string) bool { return key[member] != nil }
	switch {
	case kty == "oct":
		return "is a shared secret; give public keys only"
	case needs == nil:
		return fmt.Sprintf("has the kty %.16q; it is RSA, EC or OKP", kty)
	case slices.ContainsFunc([]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}, private):
		return "is a private key, which is compromised now: make a new pair and give the public key only"
	case slices.ContainsFunc(needs, lacks):
		return "lacks one of " + strings.Join(needs, ", ")
	default:
		return ""
	}
}

// publicMembers are the members of a public key (RFC 7518, section 6; RFC 8037, section 2), nil for an unknown type.
func publicMembers(kty string) []string {
	switch kty {
	case "RSA":
		return []string{"n", "e"}
	case "EC":
		return []string{"crv", "x", "y"}
	case "OKP":
		return []string{"crv", "x"}
	default:
		return nil
	}
}
