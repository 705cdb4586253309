// SPDX-License-Identifier: Apache-2.0

// Package port is what HTTP needs around the admin API: a server that speaks HTTP/1.1 and HTTP/2 without TLS on one port, request
// ids, the time in which a request has to arrive, strict JSON, and CORS.
//
// It is called by adminapi. It must never know of a service, a caller or an error of the domain.
package port
