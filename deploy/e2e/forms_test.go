// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// forms is a browser as far as pages without scripts need one: it has cookies, follows redirects, and sends forms with their hidden
// fields.
type forms struct {
	t      *testing.T
	client *http.Client
}

func newForms(t *testing.T) forms {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return forms{t, &http.Client{Jar: jar}}
}

// get returns a page.
func (f forms) get(from string) string { return f.send(http.MethodGet, from, nil) }

// post sends the form of a page and returns the next page.
func (f forms) post(page, to string, values url.Values) string {
	f.t.Helper()
	for _, m := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !values.Has(m[1]) {
			values.Set(m[1], html.UnescapeString(m[2]))
		}
	}
	return f.send(http.MethodPost, to, values)
}

func (f forms) send(method, to string, form url.Values) string {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := f.client.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}
