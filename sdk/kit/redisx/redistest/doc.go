// SPDX-License-Identifier: Apache-2.0

// Package redistest starts a real Redis for tests: one server ([Start]) or a cluster of six ([StartCluster]), on free ports of
// the loopback interface, in a temporary folder, ended with the test.
//
// Tests of every module call it. A machine without redis-server fails the test and names the command that installs it. It must
// never be linked into a server.
package redistest
