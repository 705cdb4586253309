// SPDX-License-Identifier: Apache-2.0

// Package spelling finds arguments whose names a policy does not know, and which a server may take for those that it knows (gateway.md
// G-31): "Env" where the policy reads "env".
//
// Names are compared as servers do that are not strict: by Unicode's simple case folding, as encoding/json and .NET do, and without "_"
// and "-", as encoding/json/v2 does where it ignores case, and as protojson and models with aliases do, which take userId and user_id.
// Names that only Unicode's normalisation makes one are different: no decoder of JSON is known to normalise names.
//
// It is called by condition, compile, and what fixes arguments. It must never put the value of an argument into a text.
package spelling
