// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"net/http"
	"strconv"
)

// Document answers GET or HEAD with a JSON document that everybody may read and keep for five minutes.
func (p *Pool) Document(w http.ResponseWriter, method string, body []byte) {
	h := w.Header()
	h["Content-Type"] = p.jsonType
	h.Set("Cache-Control", "max-age=300")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	deadline(w)
	w.WriteHeader(http.StatusOK)
	if method != http.MethodHead {
		_, _ = w.Write(body) // an error says that the client is gone
	}
}
