// SPDX-License-Identifier: Apache-2.0

// Package suite runs the official MCP conformance suite, an npm package that the end-to-end clients install, and reads the
// checks it made.
//
// The programs under deploy/conformance call it. It must never know what is tested, nor what counts as good.
package suite
