// SPDX-License-Identifier: Apache-2.0

// Package redirect is which redirect URIs a client may have, and when the URI of a request is one of them (REG-6, REG-7,
// AZ-2; RFC 8252 §7.3, OAuth 2.1 §2.3.1). It is pure: text in, yes or no out.
//
// clients and the packages below it call it. It must never know a client, HTTP or the store.
package redirect
