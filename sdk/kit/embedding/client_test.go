// SPDX-License-Identifier: Apache-2.0

package embedding_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/embedding"
)

const key = "sk-of-the-test"

// open returns a client of an endpoint, which ends with the test.
func open(t *testing.T, url string) *embedding.Client {
	t.Helper()
	c, err := embedding.New(embedding.Config{URL: url + "/v1/embeddings", Model: "m", Key: key, Egress: egress.Policy{AllowLoopback: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestEmbed: what is asked, and that vectors come in the order of the texts, with length one.
func TestEmbed(t *testing.T) {
	var asked, how string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked, how = string(body), r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+r.Header.Get("Content-Type")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}],"usage":{}}`)
	}))
	defer s.Close()
	c := open(t, s.URL)
	vectors, err := c.Embed(t.Context(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]float32{{0.6, 0.8}, {0, 1}}, vectors); diff != "" {
		t.Errorf("vectors (-want +got):\n%s", diff)
	}
	if asked != `{"model":"m","input":["a","b"]}` || how != "POST /v1/embeddings Bearer "+key+" application/json" {
		t.Errorf("asked %s with %s", asked, how)
	}
	for _, texts := range [][]string{nil, make([]string, embedding.MaxTexts+1)} {
		if _, err := c.Embed(t.Context(), texts); err == nil {
			t.Errorf("%d texts were sent", len(texts))
		}
	}
}

// TestEmbedRefuses: what an endpoint may do wrong. No error repeats the key, the URL or the answer.
func TestEmbedRefuses(t *testing.T) {
	long := strings.Repeat("0.5,", 8192)
	for name, row := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"401":                {401, `{"error":"bad ` + key + `"}`, "the endpoint answered 401 Unauthorized"},
		"429":                {429, `slow down`, "the endpoint answered 429 Too Many Requests"},
		"500":                {500, ``, "the endpoint answered 500 Internal Server Error"},
		"redirect":           {307, ``, "the endpoint answered 307 Temporary Redirect"},
		"not JSON":           {200, `<html>answer`, "the answer is no JSON"},
		"NaN":                {200, `{"data":[{"embedding":[NaN,1]},{"embedding":[1,1]}]}`, "the answer is no JSON"},
		"null for NaN":       {200, `{"data":[{"embedding":[null,1]},{"embedding":[1,1]}]}`, "zero or not finite"},
		"beyond float32":     {200, `{"data":[{"embedding":[1e39,1]},{"embedding":[1,1]}]}`, "the answer is no JSON"},
		"zero":               {200, `{"data":[{"embedding":[0,0]},{"embedding":[1,1]}]}`, "zero or not finite"},
		"no vector":          {200, `{"data":[{},{"embedding":[1,1]}]}`, "the answer is no JSON"},
		"base64":             {200, `{"data":[{"embedding":"AAAA"},{"embedding":"AAAA"}]}`, "the answer is no JSON"},
		"empty vector":       {200, `{"data":[{"embedding":[]},{"embedding":[]}]}`, "a vector of 0 numbers"},
		"too few":            {200, `{"data":[{"embedding":[1,1]}]}`, "1 vectors for 2 texts"},
		"too many":           {200, `{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}`, "3 vectors for 2 texts"},
		"index twice":        {200, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, "an index twice or outside"},
		"index outside":      {200, `{"data":[{"index":2,"embedding":[1]},{"index":0,"embedding":[1]}]}`, "an index twice or outside"},
		"different lengths":  {200, `{"data":[{"embedding":[1,1]},{"embedding":[1,1,1]}]}`, "a vector of 3 numbers"},
		"too long a vector":  {200, `{"data":[{"embedding":[` + long + `1]},{"embedding":[1]}]}`, "a vector of 8193 numbers"},
		"huge body":          {200, strings.Repeat(" ", 16<<20) + `{}`, "more than 16 MiB"},
		"nothing of the API": {200, `{"embeddings":[[1],[1]]}`, "0 vectors for 2 texts"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			}))
			defer s.Close()
			_, err := open(t, s.URL).Embed(t.Context(), []string{"a", "b"})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %s", err, row.want)
			}
			for _, secret := range []string{key, s.URL, "slow down", "answer<"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v repeats %s", err, secret)
				}
			}
			status, says := (*embedding.StatusError)(nil), errors.As(err, new(*embedding.StatusError))
			if errors.As(err, &status) != (row.status != 200) || says && status.Code != row.status {
				t.Errorf("status of %v", err)
			}
		})
	}
}

// TestEmbedUnreached: an endpoint that refuses connections, one that is silent, and one that the guard does not open.
func TestEmbedUnreached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, gone).Embed(t.Context(), []string{"a"}); err == nil || strings.Contains(err.Error(), "/v1/") {
		t.Errorf("refused: got %v", err)
	}
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client goes
		close(asked)
		<-r.Context().Done()
	}))
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	go func() { <-asked; cancel() }()
	if _, err := open(t, silent.URL).Embed(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: got %v", err)
	}
}

// TestNewRefuses: settings that no endpoint can be asked with.
func TestNewRefuses(t *testing.T) {
	open := egress.Policy{AllowLoopback: true}
	for name, row := range map[string]struct {
		url, model string
		egress     egress.Policy
		want       string
	}{
		"no URL":          {"", "m", open, "is empty"},
		"no model":        {"http://127.0.0.1:1/v1/embeddings", "", open, "has no name"},
		"a base URL":      {"http://127.0.0.1:1/v1", "m", open, "does not end in /embeddings"},
		"another scheme":  {"ftp://127.0.0.1:1/v1/embeddings", "m", open, "http or https"},
		"a password":      {"http://me:pw@127.0.0.1:1/v1/embeddings", "m", open, "user information"},
		"loopback closed": {"http://127.0.0.1:1/v1/embeddings", "m", egress.Policy{}, "127.0.0.1"},
		"private closed":  {"http://10.0.0.1/v1/embeddings", "m", open, "10.0.0.1"},
	} {
		_, err := embedding.New(embedding.Config{URL: row.url, Model: row.model, Egress: row.egress})
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "pw@") {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
	if _, err := embedding.New(embedding.Config{URL: "https://api.example.com/v1/embeddings?api-version=1", Model: "m"}); err != nil {
		t.Errorf("a query of its own: %v", err)
	}
}

// TestCosine: of vectors of any number of numbers.
func TestCosine(t *testing.T) {
	for n := 1; n <= 9; n++ {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			v := make([]float64, n)
			for i := range v {
				v[i] = float64(i + 1)
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			_, _ = fmt.Fprintf(w, `{"data":[{"embedding":%s}]}`, text)
		}))
		v, err := open(t, s.URL).Embed(t.Context(), []string{"a"})
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := embedding.Cosine(v[0], v[0]); math.Abs(float64(got)-1) > 1e-6 {
			t.Errorf("%d numbers: %v to itself", n, got)
		}
	}
	if got := embedding.Cosine([]float32{0, 1, 0, 0, 1}, []float32{1, 0, 0, 0, -1}); got != -1 {
		t.Errorf("got %v, want -1", got)
	}
}
