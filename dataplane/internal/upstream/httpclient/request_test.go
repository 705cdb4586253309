// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Mcp-Session-Id", "  abc ")
		w.Header().Set("Got", strings.Join(r.Header.Values("X-Many"), "|")+" "+r.Host)
	}))
	defer s.Close()
	c := newClient(t, nil)
	r := post(endpoint(t, s.URL), "")
	r.Values("X-Many", []string{"1", "zwei ü", "\tx"})
	resp, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	if got := string(resp.Header("mcp-SESSION-id")); got != "abc" {
		t.Errorf("session %q", got)
	}
	if got, want := string(resp.Header("got")), "1|zwei ü|x "+strings.TrimPrefix(s.URL, "http://"); got != want {
		t.Errorf("server got %q, want %q", got, want)
	}
	if resp.Header("absent") != nil || resp.Header("Mcp-Session") != nil {
		t.Error("absent field found")
	}
}

// TestNoInjection: nothing that comes from outside can end a head or change
// how the message is framed.
func TestNoInjection(t *testing.T) {
	c := newClient(t, func(cfg *Config) {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialed")
			return nil, errors.New("no")
		}
	})
	to := endpoint(t, "http://127.0.0.1:1/")
	for _, f := range [][2]string{
		{"X", "a\r\nY: b"},
		{"X", "a\nb"},
		{"X", "a\x00"},
		{"X", "\x7f"},
		{"X\r\nY", "a"},
		{"X Y", "a"},
		{"X:", "a"},
		{"", "a"},
		{"Ü", "a"},
		{"Host", "evil"},
		{"content-LENGTH", "0"},
		{"Transfer-Encoding", "chunked"},
		{"Connection", "close"},
		{"Upgrade", "h2c"},
		{"TE", "trailers"},
		{"Trailer", "x"},
		{"Expect", "100-continue"},
		{"Keep-Alive", "1"},
		{"Proxy-Connection", "x"},
		{"Accept-Encoding", "gzip"},
	} {
		r := post(to, "")
		r.Header(f[0], f[1])
		r.Header("Fine", "yes")
		if _, err := c.Do(t.Context(), r); err == nil || Sent(err) {
			t.Errorf("%q: %v", f, err)
		}
	}
	r := &Request{}
	r.Start("GET / HTTP/1.1\r\nX: y\r\n\r\nPOST", "p", to)
	if _, err := c.Do(t.Context(), r); err == nil {
		t.Error("method with a line break")
	}
}

func TestParseEndpoint(t *testing.T) {
	for raw, want := range map[string]*Endpoint{
		"http://h/a?b=c":    {name: "h", addr: "h:80", host: "h", target: "/a?b=c"},
		"https://h:8443":    {secure: true, name: "h", addr: "h:8443", host: "h:8443", target: "/"},
		"http://[::1]:8/%0": nil,
		"https://[::1]/x":   {secure: true, name: "::1", addr: "[::1]:443", host: "[::1]", target: "/x"},
		"http://h/a b":      {name: "h", addr: "h:80", host: "h", target: "/a%20b"},
		"http://h/ü":        {name: "h", addr: "h:80", host: "h", target: "/%C3%BC"},
		"http://bücher/":    nil,
		"ftp://h/":          nil,
		"http:///x":         nil,
		"//h/x":             nil,
		"http://u:p@h/":     nil,
		"http://h/#f":       nil,
		"http://h\r\n/":     nil,
	} {
		got, err := ParseEndpoint(raw)
		if want == nil {
			if err == nil {
				t.Errorf("%q was accepted", raw)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q = %+v, %v; want %+v", raw, got, err, want)
		}
	}
}
