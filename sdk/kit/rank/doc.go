// SPDX-License-Identifier: Apache-2.0

// Package rank finds tools by what a person or an agent says that it wants to do (G-22): an index over tools' names, titles,
// descriptions and arguments, ranked by BM25F over fields of different weight.
//
// Text is split at camelCase and snake_case and stemmed by Porter2. Three things make up for words that differ between the one who
// asks and the author of a tool: a lexicon of words and phrases that mean the same in the domain of tools ([Lexicon], data in
// lexicon.txt), a gloss in plain words that every document gets from its verbs and objects, and corrections of typing errors. Which
// of these earn their place is measured by deploy/bench/search; what does not raise its figures is not here.
//
// Where the caller knows how near documents are in meaning ([Options].Near), that is part of the score; what it may count for is measured
// in the same place.
//
// An [Index] is immutable, is shared by all callers, and is filtered for each of them by [Options].Keep: nothing that is not kept
// appears among hits, counts or unmatched words. The package is pure: no clock, no I/O, no language but English. It knows nothing of
// gateways, servers or callers.
package rank
