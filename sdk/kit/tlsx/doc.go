// SPDX-License-Identifier: Apache-2.0

// Package tlsx owns mutual TLS between the processes of Penstock: TLS 1.3
// configurations made from certificate files that are read again when they
// change, or from memory that is filled anew ([Held]), and peers that are accepted by the SPIFFE ID in their certificate
// (distribution design D-80).
//
// The roots give its configurations to gRPC and HTTP servers and clients;
// standalone needs none. It must never issue a certificate (tlsxtest does, for
// tests) and never decide what a peer may do beyond its role.
package tlsx
