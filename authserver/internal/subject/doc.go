// SPDX-License-Identifier: Apache-2.0

// Package subject keeps who a person is at an identity provider, as tokens: what a login left there, sealed in the vault, one per
// user and provider, until the next login, or the end of the user, of the provider, or of the provider's token_exchange. From it
// come the subjects of exchanges (auth.md JAU-2, UP-7) and access tokens that a provider gives for a server (JW-13), renewed in
// time, once over all authservers (UP-5).
//
// login brings the tokens; the root asks for them, for whoever resolves a credential; connect asks whether they are there. It must
// never know browsers, nodes and connections, nor what a token is exchanged for; and it never logs a token or an answer.
package subject
