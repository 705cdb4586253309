// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
)

// maxResponseBytes bounds one answer of the server; a configuration of 10,000 resources stays far below.
const maxResponseBytes = 256 << 20

// Client calls the admin API of one control plane. It is safe for concurrent use and needs no closing.
type Client struct {
	Servers           Servers
	Connections       Connections
	Tools             Tools
	Gateways          Gateways
	Teams             Teams
	Users             Users
	BearerTokens      BearerTokens
	IdentityProviders IdentityProviders
	OAuthClients      OAuthClients
	Policies          Policies
	ResultPolicies    ResultPolicies
	Approvals         Approvals
	Explain           Explain
	Nodes             Nodes
	Configuration     Configuration
	Audit             Audit
}

// Option changes how a [Client] calls.
type Option interface{ apply(*options) }

type option func(*options)

func (o option) apply(to *options) { o(to) }

type options struct {
	http      connect.HTTPClient
	userAgent string
	attempts  uint
}

// WithHTTPClient sets the HTTP client, for TLS settings, a proxy or a test. Nil changes nothing. The default dials within 10 s
// and follows no redirects: a redirect would take the token elsewhere.
func WithHTTPClient(c *http.Client) Option {
	return option(func(o *options) {
		if c != nil {
			o.http = c
		}
	})
}

// WithUserAgent sets the User-Agent header, for example "inventory/1.2". The default is "penstock-go".
func WithUserAgent(agent string) Option {
	return option(func(o *options) { o.userAgent = agent })
}

// WithAttempts sets how often a call that changes nothing (Get, List, Export, WaitEnforced …) is tried in all while the server
// is unavailable: 4 unless told otherwise, at least 1. Between attempts the client waits 100 ms, doubled each time up to 2 s,
// with jitter. Calls that write are tried once.
func WithAttempts(n int) Option {
	return option(func(o *options) { o.attempts = uint(max(n, 1)) })
}

// New returns a client for the admin API at an absolute http or https URL, for example "http://127.0.0.1:8081". The token is a
// bearer token made for the admin API ("pst_…"). New connects to nothing; a wrong token shows at the first call, see
// [IsUnauthenticated].
func New(baseURL, token string, opts ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("admin API address %q: want an absolute http or https URL, for example http://127.0.0.1:8081: %w", baseURL, errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("admin API address %q: want an absolute http or https URL, for example http://127.0.0.1:8081", baseURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("admin API address of host %s: want no user, query or fragment", u.Host)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token contains characters that no bearer token has (white space, perhaps)")
	}
	o := options{http: defaultHTTPClient(), userAgent: "penstock-go", attempts: 4}
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o.client(strings.TrimSuffix(u.String(), "/"), token), nil
}

// client makes the parts. Interceptors, outermost first: errors as this package's, retries, then the headers of each attempt.
func (o options) client(base, token string) *Client {
	with := connect.WithClientOptions(
		connect.WithInterceptors(wrapErrors(), retry(o.attempts), headers(token, o.userAgent)),
		connect.WithReadMaxBytes(maxResponseBytes),
	)
	return &Client{
		Servers:           Servers{adminv1connect.NewServerServiceClient(o.http, base, with)},
		Connections:       Connections{adminv1connect.NewConnectionServiceClient(o.http, base, with)},
		Tools:             Tools{adminv1connect.NewToolServiceClient(o.http, base, with)},
		Gateways:          Gateways{adminv1connect.NewGatewayServiceClient(o.http, base, with)},
		Teams:             Teams{adminv1connect.NewTeamServiceClient(o.http, base, with)},
		Users:             Users{adminv1connect.NewUserServiceClient(o.http, base, with)},
		BearerTokens:      BearerTokens{adminv1connect.NewBearerTokenServiceClient(o.http, base, with)},
		IdentityProviders: IdentityProviders{adminv1connect.NewIdentityProviderServiceClient(o.http, base, with)},
		OAuthClients:      OAuthClients{adminv1connect.NewOAuthClientServiceClient(o.http, base, with)},
		Policies:          Policies{adminv1connect.NewPolicyServiceClient(o.http, base, with)},
		ResultPolicies:    ResultPolicies{adminv1connect.NewResultPolicyServiceClient(o.http, base, with)},
		Approvals:         Approvals{adminv1connect.NewApprovalServiceClient(o.http, base, with)},
		Explain:           Explain{adminv1connect.NewExplainServiceClient(o.http, base, with)},
		Nodes:             Nodes{adminv1connect.NewNodeServiceClient(o.http, base, with)},
		Audit:             Audit{adminv1connect.NewAuditServiceClient(o.http, base, with)},
		Configuration:     Configuration{adminv1connect.NewConfigurationServiceClient(o.http, base, with)},
	}
}

// defaultHTTPClient bounds each step of a call; the caller's context bounds the whole.
func defaultHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 6 * time.Minute, // the longest call, WaitEnforced, takes at most 5
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   8,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// headers sets what each call carries. Without a token there is no Authorization header: the server says what is missing.
func headers(token, userAgent string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if token != "" {
				req.Header().Set("Authorization", "Bearer "+token)
			}
			req.Header().Set("User-Agent", userAgent)
			return next(ctx, req)
		}
	}
}
