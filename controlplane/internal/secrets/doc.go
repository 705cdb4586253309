// SPDX-License-Identifier: Apache-2.0

// Package secrets hands secrets that were typed into the admin API to the authserver and returns their references,
// and has it make links where people type their own.
//
// It owns the control plane's client of penstock.credential.v1. The root makes it over mutual TLS, or in memory where both
// run in one program, and gives it to the catalog, which declares the interface. It must never keep, log or return a
// secret, and never resolve one: the control plane holds none in clear beyond the request that brought it.
package secrets
