// SPDX-License-Identifier: Apache-2.0

// Package limit is the rate limits of gateways (G-50): which of them concern a request or a tool call, who counts together, and
// what is said when one is used up.
//
// edge asks for every request, dispatch for every tool call, both through interfaces of their own. How a count is kept over all
// nodes is kit/quota's. It must never know HTTP or MCP, and its keys hold no name and no token: uids of gateways and digests.
package limit
