// SPDX-License-Identifier: Apache-2.0

// Package directory is what the authserver knows of the organisation: users, teams, gateways with the connections they use,
// identity providers and registered OAuth clients, and who is banned. It follows the node stream with the authserver's scope
// (D-11) and keeps the last known good state on disk, so that a login needs no control plane. Only a login that changes a
// user calls penstock.directory.v1.
//
// Every room reads a [View]. It must never know HTTP, tokens or the store.
package directory
