// SPDX-License-Identifier: Apache-2.0

// Package ask is an authorization request between its check and its answer: how it waits while a person logs in and decides,
// bound to her browser, and how it is answered to the client, with `iss` on every redirect (RFC 9207), or with a page where a
// redirect would serve an open redirector (AZ-18, AZ-23).
//
// authorize and consent share it. It must never know how a request is checked or when consent is needed.
package ask
