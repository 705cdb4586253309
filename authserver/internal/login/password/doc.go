// SPDX-License-Identifier: Apache-2.0

// Package password hashes the passwords of local users with argon2id (RFC 9106) and compares them, in the PHC string format,
// with a bound on how many are worked on at once.
//
// login calls it. It must never know a user, the store or HTTP.
package password
