// SPDX-License-Identifier: Apache-2.0

// Package webhook tells an outside system of held calls, and takes its decisions, both signed as Standard Webhooks
// (https://www.standardwebhooks.com) ask for.
//
// It owns what stands in the messages and their signatures. It is called by the root, which serves [Receiver] and runs [Sender]. It
// must never decide who may approve: package approval does.
package webhook
