// SPDX-License-Identifier: Apache-2.0

// Package embed keeps the vectors that search_tools is re-ranked by, where an operator has named an embeddings endpoint: those of tools
// are made in the background and kept by a hash of their text, that of a query is asked for while its search waits.
//
// The search room asks it for the vectors of an index ([Vectors.Want]) and how near their texts are to a query ([Vectors.Near]); the root
// runs it. Nothing that goes wrong with the endpoint goes any further than a metric and a line in the log: without a vector in time, words
// alone rank. What leaves the node are texts of tools and queries, never who asked. It knows nothing of gateways, tools or callers.
//
// vectors.go keeps the vectors of texts, work.go has them made, query.go asks for those of queries.
package embed
