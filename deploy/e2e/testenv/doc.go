// SPDX-License-Identifier: Apache-2.0

// Package testenv starts Penstock in the test process: control plane, authserver and nodes, each made by its root package, on
// free loopback ports and with everything they keep in a folder of the test. What is stopped at the end has ended: a test may
// look for leaked goroutines.
//
// End-to-end tests call it. It must never reach past a root package: what a test cannot do through the admin API, the ports of
// the servers and their files, an operator cannot do either.
package testenv
