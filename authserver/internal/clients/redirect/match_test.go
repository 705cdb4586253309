// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
)

// matcher is a row a line: what is registered, by what sort of client, what is requested, and the answer (AZ-2).
//
//go:embed testdata/matcher.jsonl
var matcher []byte

type row struct{ Registered, Client, Requested, Answer string }

func rows(t testing.TB) []row {
	t.Helper()
	var list []row
	for line := range bytes.Lines(matcher) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	if len(list) < 200 {
		t.Fatalf("the table has %d rows, want 200 at least", len(list))
	}
	return list
}

func TestMatcherTable(t *testing.T) {
	for _, r := range rows(t) {
		got := redirect.Match([]string{r.Registered}, r.Requested, r.Client == "public")
		if want := r.Answer == "accept"; got != want {
			t.Errorf("registered %q, %s client, requested %q: got %t, want %t", r.Registered, r.Client, r.Requested, got, want)
		}
	}
}

// oracle is the rule of AZ-2 again, by way of a URL parser: the matcher reads text, so that the two have no code and no
// mistake in common.
func oracle(registered, requested string, public bool) bool {
	if registered == requested {
		return true
	}
	a, err1 := url.Parse(registered)
	b, err2 := url.Parse(requested)
	if !public || err1 != nil || err2 != nil || strings.Contains(requested, "#") || len(requested) > redirect.MaxLength {
		return false
	}
	for _, u := range []*url.URL{a, b} {
		if u.Scheme != "http" || u.User != nil || u.Opaque != "" || !slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname()) {
			return false
		}
		if strings.HasSuffix(u.Host, ":") {
			return false
		}
		if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != u.Port()) {
			return false
		}
	}
	strip := func(raw string, u *url.URL) string { return strings.TrimPrefix(raw, "http://"+u.Host) }
	return a.Hostname() == b.Hostname() && strip(registered, a) == strip(requested, b) && strings.HasPrefix(requested, "http://"+b.Host)
}

// Each URI of the table against each registered one: where the two readings differ, one of them is wrong.
func TestMatcherAgainstAParser(t *testing.T) {
	list := rows(t)
	var registered []string
	for _, r := range list {
		if !slices.Contains(registered, r.Registered) {
			registered = append(registered, r.Registered)
		}
	}
	for _, r := range list {
		for _, uri := range registered {
			for _, public := range []bool{true, false} {
				got, want := redirect.Match([]string{uri}, r.Requested, public), oracle(uri, r.Requested, public)
				if got && !want || want && !got && printable(r.Requested) {
					t.Errorf("registered %q, requested %q, public %t: got %t, a parser says %t", uri, r.Requested, public, got, want)
				}
			}
		}
	}
}

// printable reports whether a URI has no character that the matcher refuses wherever it stands, and a parser does not.
func printable(uri string) bool {
	return !strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

func FuzzMatch(f *testing.F) {
	for _, r := range rows(f) {
		f.Add(r.Registered, r.Requested)
	}
	rules := redirect.Rules{AnyPrivate: true}
	f.Fuzz(func(t *testing.T, registered, requested string) {
		if _, err := rules.Check(registered); err != nil {
			return
		}
		if !redirect.Match([]string{registered}, registered, false) {
			t.Fatalf("%q does not match itself", registered)
		}
		got := redirect.Match([]string{registered}, requested, true)
		if got != oracle(registered, requested, true) && (got || printable(requested)) {
			t.Fatalf("registered %q, requested %q: got %t, a parser says otherwise", registered, requested, got)
		}
		if !got || registered == requested {
			return
		}
		if _, err := rules.Check(requested); err != nil {
			t.Fatalf("%q matches and could not be registered: %v", requested, err)
		}
		if redirect.Match([]string{registered}, requested, false) {
			t.Fatalf("%q matches %q for a confidential client", requested, registered)
		}
	})
}
