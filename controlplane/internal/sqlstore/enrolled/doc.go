// SPDX-License-Identifier: Apache-2.0

// Package enrolled is who may hold a certificate of the built-in authority, in the control plane's database (D-81): join
// tokens, the keys that workloads were enrolled with, and bans.
//
// It owns the tables join_token and workload. It is called by sqlstore, which begins and commits. It must never know a join
// token itself, only its hash, nor how a certificate is made.
package enrolled
