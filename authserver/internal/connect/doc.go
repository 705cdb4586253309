// SPDX-License-Identifier: Apache-2.0

// Package connect is how a person gives Penstock a credential for a server (auth.md §11): the links that nodes hand out, and
// the pages behind them. A link says nothing, opens nothing by itself, and is good for one person, once, for ten minutes.
//
// The credential service makes links; browsers open the pages. Some lead on: to an authorization server, or to the login with an
// identity provider. What is typed goes into the vault and to nobody, and the control plane is told the version only. It must never
// know tools, calls or tokens of clients.
package connect
