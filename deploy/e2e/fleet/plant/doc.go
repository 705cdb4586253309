// SPDX-License-Identifier: Apache-2.0

// Package plant starts a fleet as real processes on this machine: control planes, authservers and nodes as their binaries with
// mutual TLS, PostgreSQL and Redis of its own, a TCP balancer before each kind, and a proxy that can cut the links of one node.
// What it starts it can end in every way: asked to, killed, frozen.
//
// The fleet's end-to-end test uses it. It must never look inside a server: it knows command lines, ports, files and logs.
package plant
