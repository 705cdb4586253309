// SPDX-License-Identifier: Apache-2.0

// Package connect writes what a person pastes into an MCP client to use a gateway (G-70): one instruction per client and
// variant, in the client's own format.
//
// It owns the list of clients and their formats. adminapi calls it for GetConnectInstructions. It is pure: it must never
// know of the catalog, tokens, storage or transports; a gateway's URL, its name and how clients authenticate are all it is
// given, and where a token belongs it writes the placeholder [Placeholder].
package connect
