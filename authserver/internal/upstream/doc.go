// SPDX-License-Identifier: Apache-2.0

// Package upstream is Penstock as an OAuth 2.1 client of the authorization servers of MCP servers (auth.md UP-4, UP-5): it finds
// them, gets grants from them, and gives out access tokens, renewed in time. A grant lies sealed in the vault as the credential
// of a person's connection. Tokens of a client of Penstock's own, the same for all callers, are in memory only.
//
// The connect pages have grants made; the credential service asks for access tokens. It must never know browsers, cookies and
// pages, and it never logs a token, a code or an answer of an authorization server.
package upstream
