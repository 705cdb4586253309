// SPDX-License-Identifier: Apache-2.0

// Command scale measures what a large catalogue costs a node and a control plane: memory, time to load from the stream,
// and time from a start without a control plane to the first allowed call (goals of distribution.md section 12).
// `go run ./deploy/bench/scale -help` lists its flags.
//
// Everything goes the way a user's configuration goes. The real binaries run as processes of their own with mutual TLS; an
// MCP server here has the tools (about 1.75 KB each, made from a seed), nodes discover them, the admin API makes the
// gateways, and the node that is measured gets them over Follow. Then the control plane is killed and the node is started
// from its disk.
//
// Resident memory is VmRSS of /proc/PID/status when the process has nothing left to do, next to the highest value that
// the kernel noted (VmHWM).
package main
