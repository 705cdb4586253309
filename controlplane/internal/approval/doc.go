// SPDX-License-Identifier: Apache-2.0

// Package approval holds tool calls until a person decides, and lets each that was approved run once (G-34).
//
// It owns what makes two calls the same, the states of an approval, and who may decide. It is called by nodeapi for nodes, by
// adminapi for people, and by its webhook. It must never know how a caller proved who it is, and never log arguments.
package approval
