// SPDX-License-Identifier: Apache-2.0

// Package adminfake is an admin API in memory, for tests of the public client and of the command line: it keeps what is written,
// pages lists, checks etags and tokens, and has none of the rules of a control plane.
//
// It is called by tests only, and must never be taken for a description of what the real one refuses: those tests are in
// controlplane and deploy.
package adminfake
