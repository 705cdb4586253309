// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// maxParameters is the size of a query and of a form, in bytes (AZ-1).
const maxParameters = 8 << 10

// parameters are those of a request. A parameter without a value counts as left out (OAuth 2.1 §3.1).
type parameters map[string][]string

// one returns a parameter, empty if it is left out. It is not ok if it came twice (AS-16).
func (p parameters) one(name string) (value string, ok bool) {
	switch values := p[name]; len(values) {
	case 0:
		return "", true
	case 1:
		return values[0], true
	default:
		return "", false
	}
}

// repeated returns a parameter that came twice and may not.
func (p parameters) repeated() bool {
	for name, values := range p {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return true
		}
	}
	return false
}

// parameters reads query and form, or answers with a page.
func (h *Handler) parameters(w http.ResponseWriter, r *http.Request) (parameters, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		h.desk.Page(w, r, http.StatusMethodNotAllowed, "This page cannot be used so", "Go back to the app and start again.", "")
		return nil, false
	}
	if len(r.URL.RawQuery) > maxParameters {
		h.tooLong(w, r, http.StatusRequestURITooLong)
		return nil, false
	}
	p := make(parameters)
	good := p.add(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			h.broken(w, r, "", "content_type", "The app has to send its request as a form (application/x-www-form-urlencoded).")
			return nil, false
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxParameters))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			h.tooLong(w, r, http.StatusRequestEntityTooLarge)
			return nil, false
		}
		good = good && err == nil && p.add(string(body))
	}
	if !good {
		h.broken(w, r, "", "encoding", "The parameters of the app's request are not encoded as they must be.")
		return nil, false
	}
	return p, true
}

func (p parameters) add(encoded string) bool {
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return false
	}
	for name, list := range values {
		for _, v := range list {
			if v != "" || len(list) > 1 { // twice without a value is twice
				p[name] = append(p[name], v)
			}
		}
	}
	return true
}

func (h *Handler) tooLong(w http.ResponseWriter, r *http.Request, status int) {
	h.desk.Page(w, r, status, "The app's request is too long",
		"The app sent more than 8 KiB of parameters. Go back to it and try again, or tell its maker.", oauthfault.InvalidRequest)
}
