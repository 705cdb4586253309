// SPDX-License-Identifier: Apache-2.0

// Package account is a person's own page: the apps that have access in her name, and taking it back.
//
// People come here after a login that no client asked for. It must never know how access is taken back from tokens: it
// declares [Revoker].
package account
