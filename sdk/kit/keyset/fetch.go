// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/freshness"
)

// Bounds of one request (JW-6).
const (
	fetchTimeout = 5 * time.Second // of a renewal: the key set, and the discovery document where it is read anew
	maxHeader    = 64 << 10
	userAgent    = "Penstock"
)

// Bounds of how long an answer is fresh (JW-7).
const (
	minFresh = 5 * time.Minute
	maxFresh = 24 * time.Hour
)

// wellKnown follows the issuer in the URL of its discovery document (OpenID Connect Discovery 1.0 §4).
const wellKnown = "/.well-known/openid-configuration"

// newClient returns a client without proxy, cookies, redirects or connections that outlive a call.
func newClient(c Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            c.Egress.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    fetchTimeout,
			DisableCompression:     true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get returns the bytes of a document and how long they are fresh. Of what a server says, only the status code is in errors.
func (s *Set) get(ctx context.Context, from string) ([]byte, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, 0, errors.New("the URL cannot be asked")
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", userAgent)
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("get the document: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the server answered %d", answer.StatusCode)
	}
	if e := answer.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, 0, errors.New("the document is compressed")
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read the document: %w", err)
	}
	if len(body) > maxBytes {
		return nil, 0, errors.New("the document has more than 512 KiB")
	}
	return body, fresh(answer.Header, s.c.Now()), nil
}

// discover returns the URL of the key set that the issuer's discovery document names. Its issuer must be this one, byte for byte
// (OpenID Connect Discovery 1.0 §4.3).
func (s *Set) discover(ctx context.Context) (string, error) {
	body, _, err := s.get(ctx, strings.TrimSuffix(s.c.Source.Issuer, "/")+wellKnown)
	if err != nil {
		return "", fmt.Errorf("discover the key set: %w", err)
	}
	var members map[string]json.RawMessage // a map, because member names are exact
	var issuer, keys string
	if json.Unmarshal(body, &members) != nil || json.Unmarshal(members["issuer"], &issuer) != nil || json.Unmarshal(members["jwks_uri"], &keys) != nil {
		return "", errors.New("the discovery document has no issuer or no jwks_uri")
	}
	if issuer != s.c.Source.Issuer {
		return "", errors.New("the discovery document is of another issuer")
	}
	if err := protected(keys); err != nil {
		return "", fmt.Errorf("the jwks_uri of the discovery document %w", err)
	}
	if isPlain(keys) && !isPlain(issuer) {
		return "", errors.New("the jwks_uri of the discovery document is not protected, though the issuer is")
	}
	return keys, nil
}

// protected refuses a URL that keys must not come from: https, or http for this machine, which only a deployment that opens
// loopback can reach.
func protected(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return errors.New("is no URL of a document")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("is no https URL")
	}
}

func isPlain(raw string) bool { return !strings.HasPrefix(strings.ToLower(raw), "https:") }

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// fresh returns how long a document is good, within the bounds of JW-7.
func fresh(h http.Header, now time.Time) time.Duration {
	return min(max(freshness.Lifetime(h, now, maxFresh), minFresh), maxFresh)
}
