// SPDX-License-Identifier: Apache-2.0

// Package router is the public front of the authserver: a table of routes, and what is the same for all of them: the request
// identifier, the client's address, methods, CORS, rate limits, sizes, panics, HSTS, the access log and a metric.
//
// The root fills the table, so that one function shows the house. It must never know what a handler does, nor take anything
// from the Host or X-Forwarded-Host of a request (AS-3).
package router
