// SPDX-License-Identifier: Apache-2.0

// Package synthetic makes what the measurements of the configuration need: a catalogue of gateways, servers and tools from a
// seed, MCP servers that have those tools, and certificates.
//
// The measurements under bench use it. It must never know what is measured.
package synthetic
