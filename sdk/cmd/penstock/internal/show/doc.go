// SPDX-License-Identifier: Apache-2.0

// Package show writes resources for people (tables, descriptions) and for programs (JSON, YAML).
//
// It owns columns, words and the escaping of what a terminal would act on: names and descriptions of tools come from servers
// that nobody vouches for. Package command calls it. It must never ask the API for anything: what it writes it is given.
package show
