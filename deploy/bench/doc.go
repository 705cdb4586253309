// SPDX-License-Identifier: Apache-2.0

// Command bench measures what stands between an MCP client and an MCP server: the CPU time, the latency and the memory that a gateway
// costs, next to reference systems in the same run. `make bench` runs it; `go run ./deploy/bench -help` lists its flags.
//
// Absolute figures of a shared machine say little, so the figure that counts is a ratio: CPU time per call of a system divided by that
// of httputil.ReverseProxy (RP) in the same round, and of these ratios the median over the rounds. Each round visits every system, in
// an order that rotates. CPU time is utime+stime of the system's process tree. A client connection has one request in flight;
// every answer must carry the unique token of its own request, each 64th is parsed whole, and one bad answer voids the row.
//
// Systems: direct (the upstream itself), rp, rp-buffered (both bodies read whole before a byte is passed on), mcp-go (a gateway written
// in the obvious way on mcp-go, typed), and any number of others, each described by a file (see systems/ and the subject package).
// The upstream is a raw echo server; it and the reference systems run as processes of their own, from this same program.
//
// It knows nothing of Penstock but its command line: what is measured is started as a user would start it.
package main
