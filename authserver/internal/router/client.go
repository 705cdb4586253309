// SPDX-License-Identifier: Apache-2.0

package router

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
)

const maxClient = 2 << 10

// QueryClient returns the client_id of an authorization request, for [Route.Client].
func QueryClient(r *http.Request) string { return bounded(r.URL.Query().Get("client_id")) }

// FormClient returns the client that a request of a token endpoint says it comes from, in HTTP Basic (RFC 6749 §2.3.1) or in
// its form, for [Route.Client]. It is not authenticated. The body can be read again by the handler, with the same error where
// reading it fails.
func FormClient(r *http.Request) string {
	if name, _, ok := r.BasicAuth(); ok {
		id, err := url.QueryUnescape(name)
		if err != nil {
			return ""
		}
		return bounded(id)
	}
	body, err := io.ReadAll(r.Body) // bounded by Route.MaxBody
	r.Body = reread{io.MultiReader(bytes.NewReader(body), failing{err}), r.Body}
	form, _ := url.ParseQuery(string(body)) // the handler says what is wrong with it
	return bounded(form.Get("client_id"))
}

// bounded keeps a key from being as long as a request.
func bounded(id string) string { return id[:min(len(id), maxClient)] }

// reread is a body that was read before.
type reread struct {
	io.Reader
	io.Closer
}

// failing is the end of a body: an error, or none.
type failing struct{ err error }

// Read implements [io.Reader].
func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
