// SPDX-License-Identifier: Apache-2.0

// Package grants tests how people give grants at authorization servers of MCP servers, with the whole authserver and a real
// authorization server: zitadel's example. The control plane is a small one of the test's, which says what there is and takes
// what people connect.
package grants
