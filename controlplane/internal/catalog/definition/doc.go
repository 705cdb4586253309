// SPDX-License-Identifier: Apache-2.0

// Package definition reads the definitions of tools, prompts and resource templates that a discovery brings home.
//
// It owns which definitions are acceptable, when two are the same although their bytes differ (G-16), and what a
// definition's annotations mean. It is called by catalog. It must never decode a schema: definitions are kept and served
// byte for byte.
package definition
