// SPDX-License-Identifier: Apache-2.0

// Package clientsfake is what tests of clients need from the outside world: a web of HTTPS hosts on this machine, with
// their own certificate authority and names. The requests are real.
//
// Tests call it. It must never be part of a server.
package clientsfake
