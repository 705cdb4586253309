// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// Answer is what came back, body and all. The body may hold tokens.
type Answer struct {
	Status int // never 429, and never 500 or more
	Header http.Header
	Body   []byte // at most 256 KiB
}

// Decode reads the body as JSON. Its error never quotes the body.
func (a Answer) Decode(into any) error {
	if err := json.Unmarshal(a.Body, into); err != nil {
		return errors.New("the answer is not the JSON that it should be")
	}
	return nil
}

// Get asks for a document. what is one of the names above, for errors.
//
// The faults of the requests of this package: Precondition EGRESS_REFUSED, UPSTREAM_METADATA (no URL) and UPSTREAM_RESPONSE_INVALID
// (too long), Unavailable UPSTREAM_UNREACHABLE (no answer in 10 seconds, 429, or 500 and more). No redirect is followed: an endpoint
// is where its document says.
func (r Requester) Get(ctx context.Context, what, at string) (Answer, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return Answer{}, noURL(what)
	}
	q.Header.Set("Accept", jsonType)
	return r.send(ctx, what, q)
}

// PostForm sends a form. header may be nil; see [Requester.Get] for the rest.
func (r Requester) PostForm(ctx context.Context, what, at string, form url.Values, header http.Header) (Answer, error) {
	return r.post(ctx, what, at, formType, form.Encode(), header)
}

// PostJSON sends a JSON text. header may be nil; see [Requester.Get] for the rest.
func (r Requester) PostJSON(ctx context.Context, what, at, body string, header http.Header) (Answer, error) {
	return r.post(ctx, what, at, jsonType, body, header)
}

func (r Requester) post(ctx context.Context, what, at, contentType, body string, header http.Header) (Answer, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(body))
	if err != nil {
		return Answer{}, noURL(what)
	}
	for name, values := range header {
		q.Header[name] = values
	}
	q.Header.Set("Content-Type", contentType)
	if q.Header.Get("Accept") == "" {
		q.Header.Set("Accept", jsonType)
	}
	return r.send(ctx, what, q)
}

func noURL(what string) error {
	return refuse(ReasonMetadata, "The address of the %s is no URL.", what)
}

// send sends one request. Nothing of the answer is in an error.
func (r Requester) send(ctx context.Context, what string, q *http.Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	transport := &http.Transport{ // no proxy, no cookies, and no connection that outlives the call
		DialContext: r.Egress.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	q.Header.Set("User-Agent", userAgent)
	res, err := client.Do(q.WithContext(ctx)) //nolint:gosec // the guard of the transport judges each address
	if err != nil {
		if f := fault.From(err); f.Reason == egress.ReasonRefused {
			return Answer{}, fault.Newf(fault.Precondition, egress.ReasonRefused, "The %s is at an address that Penstock does not connect to (egress.allow).", what).Because(err)
		}
		return Answer{}, unreachable(what, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, unreachable(what, err)
	case len(body) > maxAnswer:
		return Answer{}, refuse(ReasonResponse, "The answer of the %s is longer than 256 KiB.", what)
	case res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests:
		return Answer{}, unreachable(what, fmt.Errorf("it answers %d", res.StatusCode))
	}
	return Answer{res.StatusCode, res.Header, body}, nil
}
