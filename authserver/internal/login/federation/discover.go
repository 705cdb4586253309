// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20 // bytes of any answer of a provider

	freshFor   = time.Hour      // how long a discovery document counts
	retryAfter = time.Minute    // how long an older one counts on when it cannot be read anew
	staleFor   = 24 * time.Hour // ... and no longer than this in all
)

// discovered is what an identity provider says about itself.
type discovered struct {
	provider     *oidc.Provider
	namesIssuer  bool               // authorization responses have iss (RFC 9207 §3)
	secretInForm bool               // client_secret_post, because there is no client_secret_basic
	keys         *oidc.RemoteKeySet // of its identity assertions
	revocation   string             // endpoint of RFC 7009; empty: there is none that can be used
}

// entry is the cached discovery of one issuer.
type entry struct {
	mu      sync.Mutex // held while it is read, so that many logins at once ask once
	found   *discovered
	readAt  time.Time
	freshTo time.Time
}

// discover returns the document of an issuer, from the cache if it is fresh.
func (p *Party) discover(ctx context.Context, issuer string) (*discovered, error) {
	p.mu.Lock()
	e := p.providers[issuer]
	if e == nil {
		e = &entry{}
		p.providers[issuer] = e
	}
	p.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	now := p.now()
	if e.found != nil && now.Before(e.freshTo) {
		return e.found, nil
	}
	found, err := p.read(ctx, issuer)
	if err != nil {
		if e.found != nil && now.Sub(e.readAt) < staleFor {
			e.freshTo = now.Add(retryAfter)
			return e.found, nil
		}
		return nil, err
	}
	e.found, e.readAt, e.freshTo = found, now, now.Add(freshFor)
	return found, nil
}

// read fetches and checks the document (OpenID Connect Discovery 1.0 §4.3).
func (p *Party) read(ctx context.Context, issuer string) (*discovered, error) {
	if !secureAs(issuer, issuer) {
		return nil, refuse(ReasonDocument, errors.New("the issuer is not an https URL"))
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), issuer)
	if err != nil {
		if _, other := errors.AsType[*oidc.IssuerMismatchError](err); other {
			return nil, refuse(ReasonIssuer, err)
		}
		if _, transport := errors.AsType[*url.Error](err); !transport {
			err = errors.New("the discovery document cannot be read") // the error would quote it
		}
		return nil, unreachable(err)
	}
	var more struct {
		Issuer      bool     `json:"authorization_response_iss_parameter_supported"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		JWKS        string   `json:"jwks_uri"`
		Revocation  string   `json:"revocation_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, refuse(ReasonDocument, err)
	}
	at := provider.Endpoint()
	endpoints := []string{at.AuthURL, at.TokenURL, more.JWKS}
	if userInfo := provider.UserInfoEndpoint(); userInfo != "" {
		endpoints = append(endpoints, userInfo)
	}
	for _, one := range endpoints {
		if !secureAs(issuer, one) {
			return nil, refuse(ReasonDocument, fmt.Errorf("the endpoint %q is not an https URL", one))
		}
	}
	if !secureAs(issuer, more.Revocation) { // that tokens cannot be revoked there is no reason to refuse logins
		more.Revocation = ""
	}
	return &discovered{
		revocation: more.Revocation,
		provider:   provider, namesIssuer: more.Issuer, keys: oidc.NewRemoteKeySet(oidc.ClientContext(ctx, p.client), more.JWKS),
		secretInForm: len(more.AuthMethods) > 0 && !slices.Contains(more.AuthMethods, "client_secret_basic"),
	}, nil
}

// guarded returns the client with bounds on time and size, and without redirects: an endpoint is where the document says.
func guarded(c *http.Client) *http.Client {
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	timeout := requestTimeout
	if c.Timeout > 0 {
		timeout = min(timeout, c.Timeout)
	}
	return &http.Client{
		Transport: bounded{next}, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts answers off: go-oidc reads them whole.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	return answer, nil
}
