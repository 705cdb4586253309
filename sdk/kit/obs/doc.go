// SPDX-License-Identifier: Apache-2.0

// Package obs owns what every process of Penstock tells about itself: the
// slog logger, OpenTelemetry traces and metrics, the Prometheus page, the ops
// endpoints, all attribute and metric names, and [Secret], the string that
// cannot be printed.
//
// The roots call [Start] once and [Ops] for the ops port; rooms take the
// logger and providers they are given and use the name constants. It must
// never know a resource of the domain, a transport of MCP, or what a check
// checks.
package obs
