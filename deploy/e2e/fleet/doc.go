// SPDX-License-Identifier: Apache-2.0

// Package fleet tests a whole fleet on one machine: several control planes, authservers and nodes as processes behind TCP
// balancers, PostgreSQL and Redis, two regions, and many client sessions of both eras. Each kind of process is drained, killed,
// frozen and cut off in turn while the sessions go on, and after each it is counted what failed, what ran twice and what got lost.
//
// The short form runs with the other end-to-end tests; E2E_FLEET=long is 1,000 sessions, five nodes and outages of a minute, and
// also fails for each notice that is lost while streams move between nodes or Redis is lost; the short form only counts those.
// It owns tests only and nothing calls it. It must never look inside a server.
package fleet
