// SPDX-License-Identifier: Apache-2.0

// Package conf owns how a process of Penstock gets its settings: defaults, a
// YAML file, PENSTOCK_* environment variables and flags, each overriding the
// one before (architecture section 2). One struct with tags describes them
// all, so that every binary has the same --help, --version, --config and
// --print-config, and the same errors for what is misspelt.
//
// A settings struct nests groups; a path is the names joined with dots:
//
//	type Settings struct {
//		Edge struct {
//			Listen      string        `name:"listen" default:"127.0.0.1:8080" port:"shift" help:"where MCP clients connect"`
//			CallTimeout time.Duration `name:"call_timeout" default:"60s" help:"how long a call may take"`
//		} `name:"edge"`
//		Token obs.Secret `name:"token" help:"…"`
//	}
//
// gives edge.listen in the file, PENSTOCK_EDGE_LISTEN, --edge.listen and
// --edge-listen. Tags: name (default: the field in snake case), default,
// help, enum ("json,text"), secret ("true"; implied by a type with a Reveal
// method), port ("shift": PENSTOCK_PORT_OFFSET is added to the default, or to
// each element of a list).
// Types: string, bool, integers, floats, time.Duration, [Size], anything with
// UnmarshalText, lists of those, and maps from string to those.
//
// The mains of the servers call [Load] once. It must never know a setting of
// any of them, and it neither prints nor exits: main decides. The loader is
// our own because the libraries at hand merge the layers into plain values
// and forget which layer, line or variable each came from, which is what
// --print-config and the errors are made of.
package conf
