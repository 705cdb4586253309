// SPDX-License-Identifier: Apache-2.0

// Package loginfake is an OpenID provider for tests. It speaks HTTP and signs real tokens, is strict with what the relying
// party sends, and can be told to answer wrongly.
package loginfake
