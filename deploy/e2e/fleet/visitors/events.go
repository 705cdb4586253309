// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// message is the part of a JSON-RPC message that visitors look at.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Progress int `json:"progress"`
		Data     struct {
			Subject string `json:"subject"`
			Number  int    `json:"number"`
		} `json:"data"`
	} `json:"params"`
	Result *struct {
		IsError bool `json:"isError"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Structured struct {
			Problem struct {
				Type string `json:"type"`
			} `json:"penstock_error"`
		} `json:"structuredContent"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

// place is how far a client has read a stream.
type place struct {
	id    string        // of the last event
	retry time.Duration // as the server asked
}

// read reads events until the stream ends or each returns true, and keeps the place.
func (p *place) read(body io.Reader, each func(message) (enough bool)) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), 16<<20)
	var data strings.Builder
	id, hasID := "", false
	for lines.Scan() {
		line := lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if hasID {
				p.id, hasID = id, false
			}
			text := data.String()
			data.Reset()
			if text == "" {
				continue
			}
			var m message
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				return err
			}
			if each(m) {
				return nil
			}
		case field == "data":
			data.WriteString(value)
		case field == "id":
			id, hasID = value, true
		case field == "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				p.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return lines.Err()
}
