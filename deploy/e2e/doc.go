// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the product as a whole: the three servers of package testenv in the test process, real MCP clients and
// servers of the folder clients in front of and behind it. Nothing imports it. It must never know a room of a server: what it
// checks, a user can see.
package e2e
