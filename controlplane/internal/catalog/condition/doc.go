// SPDX-License-Identifier: Apache-2.0

// Package condition says why a gateway is not usable, if it is not: the status conditions of gateway.md G-3, computed at
// each read.
//
// It owns their names, reasons and texts. It is called by catalog. It must never store anything.
package condition
