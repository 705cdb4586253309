// SPDX-License-Identifier: Apache-2.0

// Command record writes down which tools public MCP servers have: it installs each package that packages.json names with npm into
// a folder of its own, without running any install script, starts its server over stdio, asks it for its tools, and keeps the answer
// as SERVER.json in a folder that is not part of the repository, because the texts are other people's.
//
// A server gets an empty home folder and of the environment the search path only; where it wants a key to start at all, a placeholder
// that opens nothing. One that does not answer in time is left out and named. It knows nothing of Penstock.
package main
