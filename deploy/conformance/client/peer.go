// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

// modern is the first revision without sessions.
const modern = "2026-07-28"

// peer speaks to a gateway, in the manner of one revision. It has no MCP library in it: those leave out tools that a node must
// leave out, and members that a node must keep.
type peer struct {
	http    *http.Client
	gateway gateway.Gateway
	version string
	session string // of a legacy revision
	id      int64

	capabilities map[string]json.RawMessage // of the gateway
}

// rpcError is an error response.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Message) }

// message is any JSON-RPC message.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

// clientInfo and capabilities, as JSON. The client can answer every question, so a node may pass every question on.
const (
	identity = `{"name":"penstock-conformance","version":"1"}`
	offers   = `{"elicitation":{},"sampling":{},"roots":{}}`
)

// connect gets to know the gateway.
func connect(ctx context.Context, g gateway.Gateway, version string) (*peer, error) {
	p := &peer{http: &http.Client{Transport: &http.Transport{}}, gateway: g, version: version}
	method, params := "server/discover", map[string]any{}
	if version != modern {
		method, params = "initialize", map[string]any{
			"protocolVersion": version, "clientInfo": json.RawMessage(identity), "capabilities": json.RawMessage(offers),
		}
	}
	text, err := p.request(ctx, method, params, nil)
	if err != nil {
		return nil, err
	}
	result := struct {
		Version      string                     `json:"protocolVersion"`
		Versions     []string                   `json:"supportedVersions"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}{}
	if err := json.Unmarshal(text, &result); err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", method, err)
	}
	p.capabilities = result.Capabilities
	if version == modern {
		return p, nil
	}
	if result.Version != version {
		return nil, fmt.Errorf("the gateway wants to speak %s", result.Version)
	}
	return p, p.notify(ctx, message{Method: "notifications/initialized"})
}

// close ends the session, if there is one, and the connections.
func (p *peer) close(ctx context.Context) error {
	defer p.http.CloseIdleConnections()
	if p.session == "" {
		return nil
	}
	response, err := p.send(ctx, http.MethodDelete, nil, nil)
	if err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return response.Body.Close()
}

// request sends a request and returns the result. The questions of a legacy gateway are answered in passing.
func (p *peer) request(ctx context.Context, method string, params map[string]any, header http.Header) (json.RawMessage, error) {
	result, err := p.exchange(ctx, method, params, header)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	return result, nil
}

func (p *peer) exchange(ctx context.Context, method string, params map[string]any, header http.Header) (json.RawMessage, error) {
	header = header.Clone()
	if p.version == modern {
		params = maps.Clone(params)
		params["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion":    p.version,
			"io.modelcontextprotocol/clientInfo":         json.RawMessage(identity),
			"io.modelcontextprotocol/clientCapabilities": json.RawMessage(offers),
		}
		if header == nil {
			header = make(http.Header)
		}
		header.Set("Mcp-Method", method)
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	p.id++
	id := fmt.Appendf(nil, "%d", p.id)
	body, err := json.Marshal(message{Version: "2.0", ID: id, Method: method, Params: text})
	if err != nil {
		return nil, err
	}
	response, err := p.send(ctx, http.MethodPost, body, header)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // what is of interest was read
	if session := response.Header.Get("Mcp-Session-Id"); session != "" {
		p.session = session
	}
	m, err := p.await(ctx, response, id)
	switch {
	case err != nil:
		return nil, err
	case m.Error != nil:
		return nil, m.Error
	}
	return m.Result, nil
}

// await reads until the response to a request.
func (p *peer) await(ctx context.Context, response *http.Response, id []byte) (message, error) {
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(io.LimitReader(response.Body, maxMessage))
		if err != nil {
			return message{}, err
		}
		m := message{}
		if err := json.Unmarshal(text, &m); err != nil || !bytes.Equal(m.ID, id) {
			return message{}, fmt.Errorf("answered by %s: %s", response.Status, text)
		}
		return m, nil
	}
	var data []byte
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case bytes.HasPrefix(line, []byte("data:")):
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
		case len(line) == 0 && len(data) > 0:
			m := message{}
			if err := json.Unmarshal(data, &m); err != nil {
				return message{}, fmt.Errorf("read an event: %w", err)
			}
			data = data[:0]
			switch {
			case m.Method == "" && bytes.Equal(m.ID, id):
				return m, nil
			case m.Method != "" && m.ID != nil:
				if err := p.answer(ctx, m); err != nil {
					return message{}, err
				}
			}
		}
	}
	return message{}, errors.Join(errors.New("the stream ended without a response"), lines.Err())
}

// maxMessage is far beyond what the suite sends.
const maxMessage = 16 << 20

// answer answers a question of a legacy gateway.
func (p *peer) answer(ctx context.Context, question message) error {
	result, err := answer(question.Method, question.Params)
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return p.notify(ctx, message{ID: question.ID, Result: text})
}

// notify sends what nobody answers.
func (p *peer) notify(ctx context.Context, m message) error {
	m.Version = "2.0"
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	response, err := p.send(ctx, http.MethodPost, body, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("%s%s was answered by %s: %s", m.Method, m.ID, response.Status, text)
	}
	return errors.Join(err, response.Body.Close())
}

func (p *peer) send(ctx context.Context, method string, body []byte, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, p.gateway.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("Authorization", "Bearer "+p.gateway.Token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if p.version == modern || p.session != "" {
		request.Header.Set("Mcp-Protocol-Version", p.version)
	}
	if p.session != "" {
		request.Header.Set("Mcp-Session-Id", p.session)
	}
	return p.http.Do(request)
}
