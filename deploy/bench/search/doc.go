// SPDX-License-Identifier: Apache-2.0

// Command search measures how well search_tools finds tools (G-25): labelled queries over the tools of real public MCP servers, ranked
// by sdk/kit/rank, by plain BM25 and by substring search in the same run. `make bench` runs it.
//
// The tools are recorded by the record command from the packages in packages.json; their texts are other people's and stay out of the
// repository. The queries (queries.jsonl: id, kind, query, want, half) are ours. A query counts as answered at k if one of the wanted
// tools is among the first k; one that no tool fits counts as answered if every hit is marked as a guess, or there is none.
//
//	direct      in the tool's own words
//	paraphrase  no word that means something in common with the tool's name
//	task        as an agent would put what it was told to do
//	argument    by what is put in, in place of what is done
//	typo        with errors of typing
//	vague       one or two words
//	nothing     no tool fits
//
// With -embeddings an endpoint re-ranks, in rows beside those without it in the same run, with what it costs.
//
// Queries are split into halves by a hash of their id. The ranking and its lexicon are tuned on the tuning half, whose misses -misses
// prints; the misses of the test half are never printed, so that nobody tunes on them by accident. The figures that count are the
// test half's.
//
// It knows the ranking only: what search_tools does around it is tested in its own room.
package main
