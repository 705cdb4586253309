// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 256 << 10 // bytes
	userAgent      = "Penstock-Authserver"

	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// answer is what came back, body and all.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// decode reads a JSON object. Its error never quotes the body, which may hold tokens.
func (a answer) decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return errors.New("the answer is not the JSON that it should be")
	}
	return nil
}

// send sends one request under a policy. No redirect is followed: an endpoint is where its document says. Nothing of the
// answer is in an error.
func send(ctx context.Context, policy egress.Policy, what string, r *http.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	transport := &http.Transport{ // no proxy, no cookies, and no connection that outlives the call
		DialContext: policy.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.Header.Set("User-Agent", userAgent)
	res, err := client.Do(r.WithContext(ctx))
	if err != nil {
		if f := fault.From(err); f.Reason == egress.ReasonRefused {
			return answer{}, fault.Newf(fault.Precondition, egress.ReasonRefused, "The %s is at an address that Penstock does not connect to (egress.allow).", what).Because(err)
		}
		return answer{}, unreachable(what, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, unreachable(what, err)
	case len(body) > maxAnswer:
		return answer{}, refuse(ReasonResponse, "The answer of the %s is longer than 256 KiB.", what)
	case res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests:
		return answer{}, unreachable(what, fmt.Errorf("it answers %d", res.StatusCode))
	}
	return answer{res.StatusCode, res.Header, body}, nil
}

func get(ctx context.Context, policy egress.Policy, what, at string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return answer{}, refuse(ReasonMetadata, "The address of the %s is no URL.", what)
	}
	r.Header.Set("Accept", jsonType)
	return send(ctx, policy, what, r)
}

func post(ctx context.Context, policy egress.Policy, what, at, contentType, body string, header http.Header) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		return answer{}, refuse(ReasonMetadata, "The address of the %s is no URL.", what)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", contentType)
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", jsonType)
	}
	return send(ctx, policy, what, r)
}

// secure refuses an endpoint that is not as safe as its issuer: https, or plain where both are on this machine. An address that
// the policy refuses is refused before anybody is sent there.
func (u *Upstream) secure(what, issuer, endpoint string) error {
	e, err := u.c.Egress.CheckURL(endpoint)
	if err != nil {
		f := fault.From(err)
		return fault.Newf(fault.Precondition, f.Reason, "The %s cannot be used: %s", what, f.Public).Because(err)
	}
	if e.Scheme == "https" {
		return nil
	}
	if i, err := url.Parse(issuer); err == nil && i.Scheme == "http" && isLoopback(i.Hostname()) && isLoopback(e.Hostname()) {
		return nil
	}
	return refuse(ReasonInsecure, "The %s is not an https URL.", what)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// origin returns scheme, host and port of a URL, empty for none.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}
