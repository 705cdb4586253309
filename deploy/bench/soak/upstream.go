// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// startUpstream serves an MCP server that keeps sessions and lets them have GET streams, with one tool. It returns its URL
// and a function that ends it.
func startUpstream(ctx context.Context) (url string, stop func() error, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := server.NewMCPServer("soak", "1", server.WithToolCapabilities(true))
	s.AddTool(mcp.NewTool("echo", mcp.WithDescription("Answers with the message."), mcp.WithString("message")),
		func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(r.GetString("message", "")), nil
		})
	web := &http.Server{Handler: server.NewStreamableHTTPServer(s, server.WithStateful(true)), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	return "http://" + l.Addr().String() + "/mcp", func() error {
		err := web.Close()
		if reason := <-served; !errors.Is(reason, http.ErrServerClosed) {
			err = errors.Join(err, reason)
		}
		return err
	}, nil
}
