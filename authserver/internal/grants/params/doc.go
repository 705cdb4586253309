// SPDX-License-Identifier: Apache-2.0

// Package params reads the parameters of the endpoints that clients post forms to, strictly: what a lenient parser guesses at
// is refused here (AS-15, AS-16).
//
// tokens, revoke and introspect call it. It must never know what a parameter means.
package params
