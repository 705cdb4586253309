// SPDX-License-Identifier: Apache-2.0

// Package federation is the relying party of OpenID Connect (AZ-10): it makes the address of a login at an identity provider,
// redeems the code that comes back, and checks the ID token.
//
// login calls it. It must never know the store, cookies, or the users of Penstock: what it returns is an account.
package federation
