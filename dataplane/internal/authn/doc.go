// SPDX-License-Identifier: Apache-2.0

// Package authn turns the token of a request into the principal behind it.
//
// The shape of the token decides the path, and nothing falls through to another path after a shape matched (RS-20).
// The paths are static bearer tokens (auth.md §8), access tokens of the authserver (RS-10, authn/accesstoken) and tokens of
// identity providers (auth.md §7, authn/idptoken). The last two are verified once and then found in a cache, which
// revocations, a key that is gone and whatever the view says beat. It is called by edge once per request, and again while a
// stream lasts, and reads one view.Snapshot; the keys of the authserver and of identity providers it asks of interfaces. It must
// never know of MCP, of tools or of upstreams.
package authn
