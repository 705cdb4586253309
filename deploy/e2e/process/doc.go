// SPDX-License-Identifier: Apache-2.0

// Package process tests the binaries as processes: what a person types and reads, what is on the disk, what a kill or a
// damaged file does, mutual TLS between separate servers, and the command line.
//
// It owns tests only, and starts what `go build` makes of the five commands. Nothing calls it but `make e2e`. It must
// never look inside a server: what it knows of one is its command line, its ports, its files and its log.
package process
