// SPDX-License-Identifier: Apache-2.0

// Package login owns who is logged in with a browser: the login page, local passwords, logins at OpenID Connect identity
// providers (AZ-10, AZ-11), the cookie of a login and its end (AZ-22).
//
// What a login leaves at a provider whose tokens are kept, it hands on to the keeper of the root, and asks providers for more in its
// name.
//
// authorize, consent and account ask it who is there; credentialapi sets passwords with it. It must never know what a login is
// good for: what one logs in to, it asks for a description of.
package login
