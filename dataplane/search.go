// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"
	"unicode"

	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// SearchSettings say how search_tools ranks.
type SearchSettings struct {
	Embeddings EmbeddingSettings `name:"embeddings"`
}

// EmbeddingSettings name the endpoint that re-ranks what search_tools finds.
type EmbeddingSettings struct {
	URL     string        `name:"url" help:"OpenAI-compatible embeddings endpoint that re-ranks search_tools, the whole URL that is posted to: http://127.0.0.1:11434/v1/embeddings; it is sent queries and texts of tools; empty is off"`
	Model   string        `name:"model" help:"what the embeddings endpoint calls the model"`
	KeyFile string        `name:"key_file" help:"file with the key of the embeddings endpoint, read at start; empty sends none"`
	Timeout time.Duration `name:"timeout" default:"300ms" help:"how long a search waits for the vector of its query, 10s at most; then it is ranked by words alone"`
}

// Bounds of settings.
const (
	maxEmbeddingTimeout = 10 * time.Second
	maxEmbeddingKey     = 8 << 10
)

// problems adds to f what is wrong with the settings.
func (s SearchSettings) problems(f *fault.Fault, e EgressSettings) *fault.Fault {
	c := s.Embeddings
	if c.URL == "" {
		for _, set := range []struct{ path, value string }{{"model", c.Model}, {"key_file", c.KeyFile}} {
			if set.value != "" {
				f = f.At("search.embeddings."+set.path, "is set without search.embeddings.url: set that too, or neither")
			}
		}
		return f
	}
	guard, _ := e.policy() // another setting's problem
	if _, err := embedding.CheckURL(c.URL, guard); err != nil {
		f = f.At("search.embeddings.url", embeddingProblem(err))
	}
	if c.Model == "" {
		f = f.At("search.embeddings.model", "is empty: set it to what the endpoint calls the model, such as nomic-embed-text")
	}
	if c.Timeout <= 0 || c.Timeout > maxEmbeddingTimeout {
		f = f.At("search.embeddings.timeout", fmt.Sprintf("is %s: want more than 0 and at most %s", c.Timeout, maxEmbeddingTimeout))
	}
	return f
}

// embeddingProblem says what is wrong with the URL of an endpoint, and what opens an address that is refused.
func embeddingProblem(err error) string {
	f := fault.From(err)
	switch {
	case f.Kind == fault.Precondition:
		return "is refused by the guard on outgoing connections: set egress.allow_loopback, egress.allow_private or egress.allow to open it"
	case f.Kind == fault.Invalid && len(f.Fields) > 0:
		return f.Fields[0].Problem
	default:
		return err.Error()
	}
}

// key reads the key of the endpoint: the only line of its file.
func (c EmbeddingSettings) key() (obs.Secret, error) {
	if c.KeyFile == "" {
		return "", nil
	}
	refused := func(what string) error {
		return fault.New(fault.Invalid, ReasonConfig, "The settings of the node cannot be used.").At("search.embeddings.key_file", what)
	}
	file, err := os.Open(c.KeyFile)
	if err != nil {
		return "", refused("cannot be read: " + err.Error())
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxEmbeddingKey+1))
	if err != nil {
		return "", refused("cannot be read: " + err.Error())
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > maxEmbeddingKey || bytes.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) || r == ' ' }) {
		return "", refused("holds no key: want one line of printable ASCII without spaces, 8 KiB at most")
	}
	return obs.Secret(text), nil
}

// openSearch makes what answers search_tools, with vectors where an endpoint for them is set.
func (n *Node) openSearch(r *rooms, closers *run.Closers) (*search.Search, error) {
	c := n.c.Search.Embeddings
	if c.URL == "" {
		return search.New(search.Config{}) //nolint:wrapcheck // says what it is about
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	guard, _ := n.c.Egress.policy() // validate has read it
	client, err := embedding.New(embedding.Config{URL: c.URL, Model: c.Model, Key: key, Egress: guard})
	if err != nil {
		return nil, fmt.Errorf("open the embeddings endpoint: %w", err)
	}
	closers.Add("embeddings", func(context.Context) error { client.Close(); return nil })
	r.vectors, err = embed.New(embed.Config{Endpoint: client, Model: c.Model, Timeout: c.Timeout, Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter})
	if err != nil {
		return nil, fmt.Errorf("open the vectors of tools: %w", err)
	}
	return search.New(search.Config{Vectors: r.vectors}) //nolint:wrapcheck // says what it is about
}

// embeds is the task that makes the vectors of tools, none without an endpoint.
func (r *rooms) embeds() []run.Task {
	if r.vectors == nil {
		return nil
	}
	return []run.Task{{Name: "embeddings", Run: r.vectors.Run}}
}
