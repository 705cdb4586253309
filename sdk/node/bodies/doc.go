// SPDX-License-Identifier: Apache-2.0

// Package bodies keeps the bodies of a node's state in memory: about twenty of them compressed together in one block,
// which takes a quarter of their length, and those that are asked for again and again as they are.
//
// It owns the blocks: filling, unpacking, and packing anew when most of one is dead. sdk/node, its replica and its disk
// use it; views hold bodies for as long as they like. It must never know what a body means, nor its hash.
package bodies
