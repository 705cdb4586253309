// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

// driveMCPGo logs in with mcp-go's OAuth client, by dynamic registration.
func driveMCPGo(t *testing.T, a *alone) {
	ctx, cancel := context.WithTimeout(t.Context(), oauthWithin)
	defer cancel()
	answers := make(chan map[string]string, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got := make(map[string]string)
		for name := range r.URL.Query() {
			got[name] = r.URL.Query().Get(name)
		}
		answers <- got
	}))
	defer callback.Close()
	config := transport.OAuthConfig{
		RedirectURI: callback.URL + "/callback", PKCEEnabled: true, TokenStore: transport.NewMemoryTokenStore(),
	}
	connect := func() (*client.Client, error) {
		c, err := client.NewOAuthStreamableHttpClient(a.demo().url, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.Start(ctx); err != nil {
			return c, err
		}
		_, err = c.Initialize(ctx, mcp.InitializeRequest{Params: mcp.InitializeParams{
			ProtocolVersion: "2025-11-25", ClientInfo: mcp.Implementation{Name: "e2e-oauth-mcp-go", Version: "1"},
		}})
		return c, err
	}
	_, err := connect()
	if !client.IsOAuthAuthorizationRequiredError(err) {
		t.Fatalf("without a login: %v, want that authorization is required", err)
	}
	handler := client.GetOAuthHandler(err)
	logIn(ctx, t, a, handler, answers)
	config.ClientID = handler.GetClientID()

	c, err := connect()
	if err != nil {
		t.Fatalf("connect after the login: %v", err)
	}
	tools, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil || len(tools.Tools) == 0 {
		t.Fatalf("list tools: %v, %v", tools, err)
	}
	if err := callEcho(ctx, c); err != nil {
		t.Fatal(err)
	}
	walk(t, demoUser(a), "--revoke", issuerOf(ctx, t, handler), "e2e mcp-go")
	eventually(t, 5*time.Second, func() error {
		if err := callEcho(ctx, c); err == nil {
			return errors.New("a call works after the access was taken away")
		}
		return nil
	})
}

// logIn registers the client, walks the browser through login and consent, and exchanges the code.
func logIn(ctx context.Context, t *testing.T, a *alone, handler *transport.OAuthHandler, answers <-chan map[string]string) {
	t.Helper()
	if err := handler.RegisterClient(ctx, "e2e mcp-go"); err != nil {
		t.Fatalf("register: %v", err)
	}
	verifier, err := client.GenerateCodeVerifier()
	if err != nil {
		t.Fatal(err)
	}
	state, err := client.GenerateState()
	if err != nil {
		t.Fatal(err)
	}
	url, err := handler.GetAuthorizationURL(ctx, state, client.GenerateCodeChallenge(verifier))
	if err != nil {
		t.Fatalf("make the authorization URL: %v", err)
	}
	walk(t, demoUser(a), url)
	select {
	case got := <-answers:
		if got["state"] != state || got["code"] == "" || got["iss"] == "" {
			t.Fatalf("the callback got %v", got)
		}
		if err := handler.ProcessAuthorizationResponse(ctx, got["code"], state, verifier); err != nil {
			t.Fatalf("exchange the code: %v", err)
		}
	case <-ctx.Done():
		t.Fatal("nothing came to the callback")
	}
}

// issuerOf is the issuer that the client discovered.
func issuerOf(ctx context.Context, t *testing.T, handler *transport.OAuthHandler) string {
	t.Helper()
	m, err := handler.GetServerMetadata(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m.Issuer
}

func callEcho(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	result, err := c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "demo__echo", Arguments: map[string]any{"message": "hello"}}})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(mcp.TextContent); !ok || text.Text != "hello" || result.IsError {
		return errors.New("the answer is another one")
	}
	return nil
}
