// SPDX-License-Identifier: Apache-2.0

package sse

import (
	"strconv"
	"time"
)

// AppendEvent appends one event. An empty typ leaves the event field out (the
// default type "message"), an empty id the id field. data is one JSON message:
// its line breaks, which stand only between tokens, become spaces, so that it
// is one data line. typ and id must hold no line breaks.
func AppendEvent(dst []byte, typ, id string, data []byte) []byte {
	if typ != "" {
		dst = append(append(append(dst, "event: "...), typ...), '\n')
	}
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	dst = append(dst, "data: "...)
	at := len(dst)
	dst = append(dst, data...)
	for i, c := range dst[at:] {
		if c == '\n' || c == '\r' {
			dst[at+i] = ' '
		}
	}
	return append(dst, '\n', '\n')
}

// AppendPriming appends the event that starts a resumable stream: an id, the
// reconnection time and empty data (M-39).
func AppendPriming(dst []byte, id string, retry time.Duration) []byte {
	dst = append(append(append(dst, "id: "...), id...), '\n')
	dst = append(AppendRetry(dst, retry), "data: \n\n"...)
	return dst
}

// AppendRetry appends a retry field in whole milliseconds. It becomes an event
// of its own only with the blank line of [AppendBlank].
func AppendRetry(dst []byte, retry time.Duration) []byte {
	dst = strconv.AppendInt(append(dst, "retry: "...), retry.Milliseconds(), 10)
	return append(dst, '\n')
}

// AppendBlank appends the blank line that ends an event.
func AppendBlank(dst []byte) []byte { return append(dst, '\n') }

// AppendComment appends a comment line, which readers ignore; it keeps idle
// connections open. text must hold no line breaks.
func AppendComment(dst []byte, text string) []byte {
	return append(append(append(dst, ": "...), text...), '\n', '\n')
}
