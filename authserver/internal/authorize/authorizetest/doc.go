// SPDX-License-Identifier: Apache-2.0

// Package authorizetest is an organisation with clients, and browsers that ask it for access, on a real store: what the tests of
// authorize and consent are about. It is used by tests only.
package authorizetest
