// SPDX-License-Identifier: Apache-2.0

// Package gate checks where a request to the MCP port claims to go and to come from (mcp.md M-15), and answers CORS. It
// keeps web pages of other origins, and names that an attacker points at the node, away from it.
//
// edge uses it. It must never know gateways, tokens or MCP.
package gate

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonConfig is the reason of the fault of [New].
const ReasonConfig = "EDGE_CONFIG_INVALID"

// Config says what a node is called, and who may call it from a web page.
type Config struct {
	// PublicURLs are the origins clients reach the node by, for example "https://gw.example.com". Their hosts are
	// accepted in Host, with the scheme's default port or without.
	PublicURLs []string
	// AllowedOrigins are origins of web pages, besides the node's own, that may call it.
	AllowedOrigins []string
	// Loopback says that the node listens on a loopback address only, where localhost, 127.0.0.1 and [::1] are
	// accepted in Host too, with any port.
	Loopback bool
}

// Gate is the compiled form of a Config. It is immutable.
type Gate struct {
	hosts    map[string]bool // lower case; with the default port also without
	origins  map[string]bool // lower case
	loopback bool
}

// New compiles a configuration. The fault is Invalid, EDGE_CONFIG_INVALID, with the setting in Fields.
func New(c Config) (*Gate, error) {
	g := &Gate{hosts: make(map[string]bool), origins: make(map[string]bool), loopback: c.Loopback}
	for _, raw := range c.PublicURLs {
		u, err := parseOrigin(raw, "public_urls")
		if err != nil {
			return nil, err
		}
		g.origins[u.Scheme+"://"+u.Host] = true
		g.hosts[u.Host] = true
		switch defaultPort := map[string]string{"http": "80", "https": "443"}[u.Scheme]; u.Port() {
		case "":
			g.hosts[net.JoinHostPort(u.Hostname(), defaultPort)] = true
		case defaultPort:
			g.hosts[strings.TrimSuffix(u.Host, ":"+defaultPort)] = true
			g.origins[u.Scheme+"://"+strings.TrimSuffix(u.Host, ":"+defaultPort)] = true
		}
	}
	for _, raw := range c.AllowedOrigins {
		u, err := parseOrigin(raw, "allowed_origins")
		if err != nil {
			return nil, err
		}
		g.origins[u.Scheme+"://"+u.Host] = true
	}
	return g, nil
}

func parseOrigin(raw, setting string) (*url.URL, error) {
	u, err := url.Parse(strings.ToLower(strings.TrimSuffix(raw, "/")))
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fault.Newf(fault.Invalid, ReasonConfig, "%q is not an origin such as https://gw.example.com.", raw).
			At(setting, "is not scheme, host and port").Because(err)
	}
	return u, nil
}

// HostAllowed reports whether a Host header names this node.
func (g *Gate) HostAllowed(host string) bool {
	return g.hosts[host] || (g.loopback && isLoopback(host)) || g.hosts[strings.ToLower(host)]
}

// isLoopback reports whether a Host header names this machine, with any port or none.
func isLoopback(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name = host[:i]
	}
	return name == "127.0.0.1" || name == "[::1]" || strings.EqualFold(name, "localhost")
}

// CrossOrigin reports whether the request may come from where it says it comes from, and answers CORS if so. Only
// browsers send Origin; without one there is nothing to check.
func (g *Gate) CrossOrigin(w http.ResponseWriter, r *http.Request) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 || !g.originAllowed(values[0], r) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", values[0])
	h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After")
	h.Add("Vary", "Origin")
	return true
}

func (g *Gate) originAllowed(origin string, r *http.Request) bool {
	if g.origins[strings.ToLower(origin)] {
		return true
	}
	// On loopback the node's own origin is whichever of its names the page was loaded by, with the port of this
	// request: a page of another port of this machine is another origin.
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return g.loopback && isLoopback(r.Host) && strings.EqualFold(origin, scheme+r.Host)
}

// Preflight sets the CORS headers of an answer to OPTIONS, which browsers send without the token, after [Gate.CrossOrigin]
// let it pass. The headers asked for are granted as they are: which ones MCP uses depends on the tool (Mcp-Param-*), and
// the origin is trusted.
func Preflight(w http.ResponseWriter, r *http.Request, methods string) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") == "" {
		return // no browser asks
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Max-Age", "600")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Add("Vary", "Access-Control-Request-Headers")
}
