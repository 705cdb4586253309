// SPDX-License-Identifier: Apache-2.0

// Package embedding owns the client of an OpenAI-compatible embeddings endpoint (POST …/embeddings), as OpenAI, Ollama, vLLM, llama.cpp
// and text-embeddings-inference serve it: texts go there, vectors of length one come back.
//
// The data plane's search room and the benchmark of search call it. It trusts nothing that the endpoint says: answers are bounded, and
// vectors that are missing, too many, of different lengths, zero or not finite are refused. It must never know what the texts are, and it
// neither retries nor keeps anything.
package embedding
