// SPDX-License-Identifier: Apache-2.0

// Package providers keeps the key sets of the identity providers of the view (auth.md §7): one for each whose tokens gateways
// may accept, from when the view has it until it has it no more.
//
// The last good keys lie in a file, public ones alone, so that a node that is started anew while a provider is away serves its people
// as one that was not (JW-7).
//
// authn asks it for keys; the root runs it. kit/keyset does the work. It must never know tokens, gateways or callers.
package providers
