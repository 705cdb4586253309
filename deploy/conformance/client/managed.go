// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

// managed sets up enterprise-managed authorization for a server: an identity provider asserts who calls, and the server's
// authorization server takes that. The browser that it returns is for this scenario alone: logins with a provider end with it.
// The provider itself ends with the site: Penstock gives tokens back to a provider that it loses.
func (s *Site) managed(ctx context.Context, t task, p *gateway.Protected) (*browser, error) {
	issuer, err := authorizationServer(ctx, t.URL)
	if err != nil {
		return nil, fmt.Errorf("find the authorization server: %w", err)
	}
	with, err := startProvider(ctx, t.Context, s.browser.who.Email, s.browser.who.Issuer+"/login/callback/"+p.Name)
	if err != nil {
		return nil, fmt.Errorf("start an identity provider: %w", err)
	}
	s.mu.Lock()
	s.stops = append(s.stops, with.stop)
	s.mu.Unlock()
	p.Provider = &gateway.Provider{Issuer: with.issuer, ClientID: with.client, Subject: with.who.ID}
	p.Secrets[gateway.ProviderSecret] = with.clientSecret
	p.Credential = fmt.Sprintf(
		"{token_exchange: {identity_provider: %s, grant: ID_JAG, issuer: %q, client_id: %q, client_secret: {from_env: SECRET}}}",
		p.Name, issuer, t.Context.ClientID)
	return newBrowser(s.browser.who, with)
}

// authorizationServer returns the issuer that a server names in its metadata (RFC 9728 §3.1), as an administrator looks it up who
// pins it.
func authorizationServer(ctx context.Context, server string) (string, error) {
	at, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	at.Path = "/.well-known/oauth-protected-resource" + at.Path
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := new(http.Client).Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // it is read to its end
	var metadata struct {
		Servers []string `json:"authorization_servers"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxPage)).Decode(&metadata)
	switch {
	case response.StatusCode != http.StatusOK:
		return "", fmt.Errorf("%s answers %s", at, response.Status)
	case err != nil:
		return "", fmt.Errorf("read %s: %w", at, err)
	case len(metadata.Servers) != 1:
		return "", errors.New("the server does not name one authorization server")
	}
	return metadata.Servers[0], nil
}
