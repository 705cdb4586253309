// SPDX-License-Identifier: Apache-2.0

// Package ident owns who somebody is: the [Principal] behind a call, and the
// [Workload] behind a connection between two processes of Penstock, written
// as a SPIFFE ID.
//
// The data plane's authn, the authserver and the admin API make principals;
// tlsx, enrolment and the stream rooms read workloads. It must never know how
// a token or a certificate chain is verified, nor what anybody is allowed to
// do.
package ident
