// SPDX-License-Identifier: Apache-2.0

// Package held keeps tool calls that wait for a person in their tables.
//
// It owns the statements that change their states. It is called by sqlstore. It must never decide who may approve.
package held
