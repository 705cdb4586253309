// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// typedGateway is a gateway as one would first write it on mcp-go: its server in front, one client session behind, the upstream's
// tools added with a handler that passes the call on. It has no authentication, no policy, no limits: what is left is the price
// of decoding and encoding.
func typedGateway(ctx context.Context, upstream string) (http.Handler, error) {
	behind, err := client.NewStreamableHttpClient(upstream, transport.WithHTTPBasicClient(&http.Client{Transport: pooled()}))
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	if err := behind.Start(ctx); err != nil {
		return nil, fmt.Errorf("start client: %w", err)
	}
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = legacyVersion
	hello.Params.ClientInfo = mcp.Implementation{Name: "bench", Version: "1"}
	if _, err := behind.Initialize(ctx, hello); err != nil {
		return nil, fmt.Errorf("initialize upstream: %w", err)
	}
	listed, err := behind.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, fmt.Errorf("list tools: %w", err)
	}
	front := server.NewMCPServer("bench", "1", server.WithToolCapabilities(false))
	for _, tool := range listed.Tools {
		front.AddTool(tool, func(ctx context.Context, request mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return behind.CallTool(ctx, request)
		})
	}
	return server.NewStreamableHTTPServer(front, server.WithEndpointPath("/mcp"), server.WithStateful(true)), nil
}
