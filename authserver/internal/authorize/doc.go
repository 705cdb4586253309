// SPDX-License-Identifier: Apache-2.0

// Package authorize is the authorization endpoint (OAuth 2.1 §4.1.1): it checks a request in the order that keeps it from being
// an open redirector (AZ-1), keeps it while its person logs in, and sends her on to login or consent.
//
// MCP clients send browsers here; the login page asks it what a request is about. It must never know how people log in, when
// consent is needed, or what a code is worth.
package authorize
