// SPDX-License-Identifier: Apache-2.0

// Package held keeps tool calls that wait for a person in their tables.
//
// It owns the statements that change their states, and seals the arguments of calls, which may hold secrets. It is called by sqlstore. It must
// never decide who may approve, and never keep an argument in clear.
package held
