// SPDX-License-Identifier: Apache-2.0

// Package discover asks a server for everything it has, when the control plane wants to know, or when the server told
// that a list of it changed (M-71): only nodes can reach upstreams (G-16). The result goes back as raw bytes; what it
// means is decided at the control plane.
//
// It owns when a server is asked again, and which authorities its resources have (M-66). follow's task stream and those
// who hear upstreams call it, upstream answers it. It must never change the view: a discovery reaches calls only as a
// revision.
package discover
