// SPDX-License-Identifier: Apache-2.0

// Package client is what the conformance suite runs as a client: a program that has Penstock put the server of a scenario behind a
// gateway, and uses that gateway. So the suite sees the node in the role of a client.
//
// The program deploy/conformance calls it, twice: the suite starts it anew for each scenario, and that asks a [Site] in the
// program that started the suite, where Penstock runs. Where a server takes access tokens, a person follows the links that her
// calls are answered with, in a browser. It must never send an MCP server of the suite anything itself; only which authorization
// server it names is looked up, where an administrator has to pin that.
//
// The suite's identity provider exchanges tokens and lets nobody log in. People log in with a provider in front of it, which asks it
// for what Penstock asks, with the ID token that the suite hands over in place of its own, and hands its answer back as it is.
package client
