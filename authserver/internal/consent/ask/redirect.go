// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
)

// Target is what a redirect URI says of where an answer goes.
type Target struct {
	Host     string // as consent keeps it: "https://client.example", "http://127.0.0.1" without port, "cursor:host"
	Show     string // for people: "client.example", "127.0.0.1", "cursor:"
	Source   string // of CSP's form-action
	Loopback bool   // a program on this computer
	App      bool   // a scheme of its own
}

// TargetOf returns what a checked redirect URI says. http is loopback: no client can have another (REG-6).
func TargetOf(redirectURI string) Target {
	u, err := url.Parse(redirectURI)
	if err != nil { // a checked URI parses
		return Target{Show: "unknown"}
	}
	switch u.Scheme {
	case "https":
		t := Target{
			Host: "https://" + u.Host, Show: ascii(u.Host), Source: "https://" + u.Host, Loopback: redirect.IsLoopback(redirectURI),
		}
		if strings.HasPrefix(u.Host, "[") {
			t.Source = "https:" // a CSP source has no form for IPv6 addresses
		}
		return t
	case "http":
		host := u.Hostname()
		t := Target{Host: "http://" + host, Show: host, Source: "http://" + u.Host, Loopback: true}
		if strings.Contains(host, ":") {
			t.Host, t.Source = "http://["+host+"]", "http:"
		}
		return t
	default:
		return Target{Host: u.Scheme + ":" + u.Host, Show: ascii(u.Scheme + ":"), Source: u.Scheme + ":", App: true}
	}
}

// ascii keeps letters that look like others out of host names.
func ascii(host string) string {
	quoted := strconv.QuoteToASCII(host)
	return quoted[1 : len(quoted)-1]
}

// Destination returns what a page says of a request. g is nil while the gateway is not known.
func Destination(q Request, c *clients.Client, g *directory.Gateway) pages.Destination {
	t := TargetOf(q.RedirectURI)
	d := pages.Destination{
		Client: c.Name, ClientHost: ascii(c.Host), Registered: c.Origin == clients.Registered, RedirectHost: t.Show, Loopback: t.Loopback, App: t.App,
		Fresh: q.Fresh, FormAction: t.Source,
	}
	if g != nil {
		d.Gateway = g.Title()
	}
	return d
}

// location returns the redirect URI with more parameters. Its own query stays as it is.
func location(redirectURI string, add url.Values) string {
	uri, _, _ := strings.Cut(redirectURI, "#") // a checked one has none
	switch {
	case !strings.Contains(uri, "?"):
		uri += "?"
	case !strings.HasSuffix(uri, "?") && !strings.HasSuffix(uri, "&"):
		uri += "&"
	}
	return uri + add.Encode()
}
