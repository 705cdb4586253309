// SPDX-License-Identifier: Apache-2.0

// Package scope decides which resources are in the scope of a class of nodes (D-11 to D-14), and translates stored
// records into the encoded resources that nodes receive.
//
// It owns the membership index, which follows a change in the time the change takes, whatever the number of resources.
// It is called by feed. It must never know of revisions, streams or stores.
package scope
