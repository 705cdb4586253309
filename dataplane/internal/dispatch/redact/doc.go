// SPDX-License-Identifier: Apache-2.0

// Package redact takes what patterns match out of what a server answers, asks and tells (gateway.md G-33).
//
// It looks at every string in the JSON text, decoded, and at the names of members that the protocol does not give; what it takes out
// leaves "[redacted]", and every other byte stays. What the protocol needs stays as well, where it can say nothing else: the words that
// have a fixed meaning, times, and the handles by which a client goes on (ids of tasks, requestState, progress tokens). A URI stays one.
// Numbers stay. The data of images and audio and blobs of resources are looked at where they are text, and stay where they are not.
//
// text.go is what happens to one text, walk.go goes through JSON, place.go knows what stands where.
//
// dispatch uses it. It must never know policies, or whom an answer goes to.
package redact
