// SPDX-License-Identifier: Apache-2.0

// Package manifest reads and writes Penstock manifests: YAML or JSON documents, one per resource, of the form
//
//	kind: Gateway
//	name: eng
//	visibility: {team: {teams: [eng]}}
//	authentication: {bearer_token: {}}
//	tools:
//	- {tool: everything/echo, pinned: {connection: everything-shared}}
//
// with the fields of the admin API's messages, by proto name or in lowerCamel; enum values are written short and in either case
// (prefix: ALWAYS or always). [Read] gathers files, [Load] turns them into the resources of an ApplyRequest and reports every
// problem with file, line and column, [Marshal] writes resources back.
//
// It owns the form of manifests and nothing of their meaning: what resources may say to each other is the server's to check.
// The penstock command calls it, and so may any other program that keeps Penstock's configuration in files. It must never open
// a connection, and it reads the environment and the file system only through what it is given.
package manifest
