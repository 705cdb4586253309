// SPDX-License-Identifier: Apache-2.0

package embedding

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// MaxTexts is how many texts one request has at most. Endpoints have bounds of their own; the lowest that is usual by default is
// 32 (text-embeddings-inference).
const MaxTexts = 32

// Bounds of one exchange.
const (
	maxNumbers  = 8192     // of one vector
	maxAnswer   = 16 << 20 // bytes
	maxHeader   = 64 << 10
	maxConns    = 16 // at a time; what is above waits
	idleTimeout = 90 * time.Second
	userAgent   = "Penstock"
)

// pathEnd is what the path of an endpoint ends in, by the protocol.
const pathEnd = "/embeddings"

var errNoVectors = errors.New("the answer is no JSON with data[].embedding of numbers")

// CheckURL parses the URL of an endpoint and says what is wrong with it: it is the whole URL that is posted to, such as
// http://127.0.0.1:11434/v1/embeddings, and the policy must let it be dialed. The faults are those of [egress.Policy.CheckURL]; a plain
// error names a path that is none of an endpoint.
func CheckURL(raw string, p egress.Policy) (*url.URL, error) {
	u, err := p.CheckURL(raw)
	if err != nil {
		return nil, err //nolint:wrapcheck // a fault with the answer
	}
	if !strings.HasSuffix(u.Path, pathEnd) {
		return nil, fmt.Errorf("has a path that does not end in %s: give the whole URL that is posted to, such as http://127.0.0.1:11434/v1/embeddings", pathEnd)
	}
	return u, nil
}

// Config is what a [Client] needs.
type Config struct {
	// URL is posted to; required, see [CheckURL].
	URL string
	// Model is what the endpoint calls the model; required.
	Model string
	// Key is sent as a bearer token; empty sends none.
	Key obs.Secret
	// Egress says where the endpoint may be.
	Egress egress.Policy
}

// Client asks one endpoint for vectors of one model. It is safe for concurrent use.
type Client struct {
	c    Config
	http *http.Client
}

// New returns a client. It connects to nothing. The errors are those of [CheckURL], and one for a model without a name.
func New(c Config) (*Client, error) {
	if _, err := CheckURL(c.URL, c.Egress); err != nil {
		return nil, fmt.Errorf("the URL of the embeddings endpoint: %w", err)
	}
	if c.Model == "" {
		return nil, errors.New("the embedding model has no name")
	}
	return &Client{c: c, http: &http.Client{
		Transport: &http.Transport{
			DialContext:            c.Egress.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    maxConns,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key is for this endpoint
	}}, nil
}

// Close closes the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer that is none: the endpoint said no, with the HTTP status Code.
type StatusError struct{ Code int }

// Error names the status and nothing that the endpoint wrote.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the endpoint answered %d %s", e.Code, http.StatusText(e.Code))
}

// Embed returns a vector of length one for each of at most [MaxTexts] texts, in their order. All have the same number of numbers, at
// least 1 and at most 8192. It takes as long as ctx allows. Errors hold nothing of the texts, the key or the answer; one of them is
// [*StatusError].
func (c *Client) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	if len(texts) == 0 || len(texts) > MaxTexts {
		return nil, fmt.Errorf("%d texts: want 1 to %d", len(texts), MaxTexts)
	}
	body, err := json.Marshal(struct {
		Model string   `json:"model"`
		Input []string `json:"input"`
	}{c.c.Model, texts})
	if err != nil {
		return nil, errors.New("the texts cannot be written as JSON")
	}
	answer, err := c.post(ctx, body)
	if err != nil {
		return nil, err
	}
	return read(answer, len(texts))
}

func (c *Client) post(ctx context.Context, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL cannot be asked") // the cause would repeat it, and it may hold a key
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", userAgent)
	if c.c.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.c.Key.Reveal())
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var with *url.Error // it would repeat the URL
		if errors.As(err, &with) {
			err = with.Err
		}
		return nil, fmt.Errorf("ask the endpoint: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, &StatusError{answer.StatusCode}
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, errors.New("the answer has more than 16 MiB")
	}
	return text, nil
}

// read takes the vectors out of an answer, in the order of the texts: that of index where the endpoint says it, of the list if not.
func read(text []byte, want int) ([][]float32, error) {
	var answer struct {
		Data []struct {
			Index     *int            `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
	}
	if json.Unmarshal(text, &answer) != nil { // the cause would repeat parts of the answer
		return nil, errNoVectors
	}
	if len(answer.Data) != want {
		return nil, fmt.Errorf("the answer has %d vectors for %d texts", len(answer.Data), want)
	}
	vectors, numbers := make([][]float32, want), 0
	for i, d := range answer.Data {
		if d.Index != nil {
			i = *d.Index
		}
		if i < 0 || i >= want || vectors[i] != nil {
			return nil, errors.New("the answer has an index twice or outside of the texts")
		}
		var v []float32
		if json.Unmarshal(d.Embedding, &v) != nil {
			return nil, errNoVectors
		}
		if numbers == 0 {
			numbers = len(v)
		}
		if len(v) == 0 || len(v) > maxNumbers || len(v) != numbers {
			return nil, fmt.Errorf("the answer has a vector of %d numbers: want 1 to %d, and as many in each", len(v), maxNumbers)
		}
		// null is what JavaScript writes for what is no number.
		if bytes.Contains(d.Embedding, []byte("null")) || !normalize(v) {
			return nil, errors.New("the answer has a vector that is zero or not finite")
		}
		vectors[i] = v
	}
	return vectors, nil
}

// normalize gives a vector the length one; it cannot if it is zero or not finite.
func normalize(v []float32) bool {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	length := math.Sqrt(sum)
	if length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return false
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / length)
	}
	return true
}

// Cosine is how near two vectors of length one are to each other, −1 to 1. Both have the same number of numbers.
func Cosine(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32 // four sums, so that one addition does not wait for another
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
