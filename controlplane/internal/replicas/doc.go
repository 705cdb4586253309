// SPDX-License-Identifier: Apache-2.0

// Package replicas makes several control planes on one database answer as one: it knows which there are (the table replica,
// by the database's clock), follows the followers of each over mutual TLS (penstock.replica.v1), and hands tasks and their
// results to the control plane that has the node, or that waits.
//
// What it hears it gives to the ledger of distribute, which the root hands to it; distribute asks it whether that is
// everything, and where nodes should go. nodeapi asks it where a result belongs. It must never decide what is enforced, nor
// read configuration.
package replicas
