// SPDX-License-Identifier: Apache-2.0

// Package standalone is all of Penstock in one process: control plane, one node and authserver, which reach each other
// through memory, with SQLite files in one data folder. It is what `make run` starts.
package standalone
