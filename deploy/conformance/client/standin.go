// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// standInPath is where the site serves the stand-in.
const standInPath = "/stand-in"

// standIn has what the suite's protected servers have, and takes everybody. What tools such a server has is seen only by whoever is
// connected, and in some scenarios nobody may ever be: so they are discovered here first, before the server moves to where the
// suite has it and sees the first request, which is a caller's. Nobody calls them here.
func standIn() http.Handler {
	s := server.NewMCPServer("stand-in", "1", server.WithToolCapabilities(false))
	s.AddTool(mcp.NewTool("test-tool"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("The call came to the stand-in."), nil
	})
	return server.NewStreamableHTTPServer(s, server.WithStateLess(true), server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)))
}
