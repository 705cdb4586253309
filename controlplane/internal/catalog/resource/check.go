// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

var (
	slugRE    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	emailRE   = regexp.MustCompile(`^[^@\s/]+@[^@\s/]+$`)
	envRE     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	exposedRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	// extensionRE is a key of _meta with its prefix, which names of extensions are (MCP).
	extensionRE = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?)*/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	// scopeRE is scope-token of RFC 6749, section 3.3.
	scopeRE = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)
	// tokenRE is token of RFC 9110, section 5.6.2: a header's name.
	globRE  = regexp.MustCompile(`^[!-~]{1,256}$`)
	tokenRE = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")
)

// MaxTTL is the longest life of a bearer token (ST-4).
const MaxTTL = 365 * 24 * time.Hour

const (
	maxSlug     = 63
	maxEmail    = 254
	maxTools    = 10_000
	maxFeatures = 100
	maxMembers  = 10_000
	maxListTTL  = 300 * time.Second
	minMaxStale = 60 * time.Second
	minPeriod   = time.Second
	maxPeriod   = 24 * time.Hour
	maxRate     = 1_000_000_000

	maxRateLimits = 32
	minTimeout    = time.Second
	maxTimeout    = 15 * time.Minute

	modern = "2026-07-28" // the first version without sessions and without HTTP+SSE
)

// Check returns what is wrong with a resource by itself, after [Normalize].
func Check(o Object) Problems {
	var p Problems
	m := o.Metadata()
	p.labels(m.Labels)
	switch o := o.(type) {
	case *Server:
		p.slug("name", o.Name)
		p.server(o)
	case *Connection:
		p.slug("name", o.Name)
		p.connection(o)
	case *Gateway:
		p.slug("name", o.Name)
		p.gateway(o)
	case *Team:
		p.slug("name", o.Name)
		p.team(o)
	case *User:
		p.email("name", o.Name)
		p.text("display_name", o.DisplayName, 128)
		p.oneOf("role", string(o.Role), string(RoleMember), string(RoleEditor), string(RoleAdmin))
		p.identities(o)
	case *BearerToken:
		p.slug("name", o.Name)
		p.token(o)
	case *IdentityProvider:
		p.slug("name", o.Name)
		p.identityProvider(o)
	case *OAuthClient:
		p.slug("name", o.Name)
		p.oauthClient(o)
	case *Policy:
		p.slug("name", o.Name)
		p.policy(o)
	case *ResultPolicy:
		p.slug("name", o.Name)
		p.resultPolicy(o)
	case *Tool:
	}
	return p
}

func (p *Problems) slug(path, name string) {
	if len(name) > maxSlug || !slugRE.MatchString(name) {
		p.field(path, "%q is not a slug: 1 to 63 of a-z, 0-9 and -, not at the ends", clip(name))
	}
}

func (p *Problems) email(path, name string) {
	if len(name) < 3 || len(name) > maxEmail || !emailRE.MatchString(name) || !printable(name) {
		p.field(path, "%q is not an e-mail address", clip(name))
	}
}

func (p *Problems) text(path, s string, most int) {
	if n := utf8.RuneCountInString(s); n > most || !utf8.ValidString(s) {
		p.field(path, "it has %d characters; at most %d of valid UTF-8 are allowed", n, most)
	}
}

func (p *Problems) count(path string, n, most int) {
	if n > most {
		p.field(path, "there are %d; at most %d are allowed", n, most)
	}
}

// oneOf accepts an empty value too: the default.
func (p *Problems) oneOf(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		p.field(path, "%q is not one of %s", clip(value), strings.Join(allowed, ", "))
	}
}

func (p *Problems) between(path string, d *Duration, least, most time.Duration) {
	if v := d; v != nil && (time.Duration(*v) < least || time.Duration(*v) > most) {
		p.field(path, "%s is not between %s and %s", v, Duration(least), Duration(most))
	}
}

func (p *Problems) unique(path string, list []string) {
	seen := make(map[string]bool, len(list))
	for i, s := range list {
		if seen[s] {
			p.field(fmt.Sprintf("%s[%d]", path, i), "%q is listed twice", clip(s))
		}
		seen[s] = true
	}
}

func (p *Problems) labels(labels map[string]string) {
	p.count("labels", len(labels), 64)
	for k, v := range sorted(labels) {
		if k == "" || utf8.RuneCountInString(k) > 63 || !printable(k) {
			p.field("labels", "the key %q is not 1 to 63 printable characters", clip(k))
		}
		p.text("labels."+clip(k), v, 255)
	}
}

func (p *Problems) visibility(path string, v *Visibility) {
	n := 0
	if v != nil && v.Personal != nil {
		n++
		p.email(path+".personal.owner", v.Personal.Owner)
	}
	if v != nil && v.Team != nil {
		n++
		if len(v.Team.Teams) == 0 {
			p.field(path+".team.teams", "it is empty; name at least one team")
		}
		p.count(path+".team.teams", len(v.Team.Teams), 100)
		p.unique(path+".team.teams", v.Team.Teams)
		for i, t := range v.Team.Teams {
			p.slug(fmt.Sprintf("%s.team.teams[%d]", path, i), t)
		}
	}
	if v != nil && v.Organization != nil {
		n++
	}
	if n != 1 {
		p.field(path, "set exactly one of personal, team and organization")
	}
}

// owner checks an owner; service accounts own nothing but bearer tokens.
func (p *Problems) owner(path string, o *Owner, serviceAccount bool) {
	n := 0
	if o != nil && o.User != "" {
		n++
		p.email(path+".user", o.User)
	}
	if o != nil && o.Team != "" {
		n++
		p.slug(path+".team", o.Team)
	}
	if o != nil && o.Organization != nil {
		n++
	}
	if o != nil && o.ServiceAccount != "" {
		n++
		if serviceAccount {
			p.slug(path+".service_account", o.ServiceAccount)
		} else {
			p.field(path+".service_account", "a service account owns bearer tokens only")
		}
	}
	if n != 1 {
		p.field(path, "set exactly one of user, team and organization")
	}
}

func (p *Problems) url(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case raw == "" || len(raw) > 2048 || err != nil || !printable(raw):
		p.field(path, "it is not a URL of at most 2,048 characters")
	case u.Scheme != "http" && u.Scheme != "https":
		p.field(path, "its scheme is %q; use http or https", clip(u.Scheme))
	case u.Hostname() == "":
		p.field(path, "it names no host")
	case u.User != nil:
		p.field(path, "it holds a user name; put credentials into a connection's secret_headers")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		p.field(path, "it has a fragment, which is never sent")
	}
}

// isTransportHeader reports whether the transport itself writes a request header, so that nobody else may: routing and
// framing (RFC 9110, RFC 9112), hop-by-hop headers, what MCP defines, and what the relay negotiates.
func isTransportHeader(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "host", "content-length", "content-type", "content-encoding", "accept", "accept-encoding", "last-event-id", "connection", "keep-alive",
		"proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "expect":
		return true
	default:
		return strings.HasPrefix(name, "mcp-")
	}
}

// headerNames checks names of secret headers.
func (p *Problems) headerNames(path string, names []string) {
	p.count(path, len(names), 20)
	seen := make(map[string]bool, len(names))
	for i, name := range names {
		at, key := fmt.Sprintf("%s[%d]", path, i), strings.ToLower(name)
		switch {
		case !tokenRE.MatchString(name):
			p.field(at, "%q is not a header name: 1 to 128 characters of an RFC 9110 token", clip(name))
		case isTransportHeader(name):
			p.field(at, "the transport writes the header %q itself", name)
		case seen[key]:
			p.field(at, "%q is listed twice: case makes no difference", name)
		}
		seen[key] = true
	}
}

// headers checks request headers; secrets may also authenticate.
func (p *Problems) headers(path string, headers map[string]string, secret bool, maxValue int) {
	p.count(path, len(headers), 20)
	seen := make(map[string]bool, len(headers))
	for name, value := range sorted(headers) {
		at := path + "." + clip(name)
		key := strings.ToLower(name)
		switch {
		case !tokenRE.MatchString(name):
			p.field(at, "it is not a header name: 1 to 128 characters of an RFC 9110 token")
		case isTransportHeader(name):
			p.field(at, "the transport writes this header itself")
		case !secret && (key == "authorization" || key == "cookie"):
			p.field(at, "it authenticates; put it into a connection's secret_headers")
		case seen[key]:
			p.field(at, "it is listed twice: case makes no difference")
		case strings.ContainsAny(value, "\r\n\x00"):
			p.field(at, "its value has a line break or a NUL")
		case secret && value == "":
			p.field(at, "its value is empty")
		case len(value) > maxValue:
			p.field(at, "its value has more than %d bytes", maxValue)
		case value != strings.TrimSpace(value):
			p.field(at, "its value begins or ends with white space, which is not sent")
		}
		seen[key] = true
	}
}

// passthroughHeaders checks which headers of clients servers are to get (G-40, G-41).
func (p *Problems) passthroughHeaders(names []string) {
	p.count("passthrough_headers", len(names), compile.MaxPassedHeaders)
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		at := PassthroughAt(name)
		switch why := compile.NeverPassed(name); {
		case !tokenRE.MatchString(name):
			p.field(at, "it is not a header name: 1 to 128 characters of an RFC 9110 token")
		case why != "":
			p.Add(ReasonHeaderNeverPassed, at, "%s", why)
		case seen[name]:
			p.field(at, "it is listed twice: case makes no difference")
		}
		seen[name] = true
	}
}

// PassthroughAt is the path of a header among the passthrough_headers of a gateway: by the name, because they are sorted.
func PassthroughAt(name string) string { return "passthrough_headers[" + clip(name) + "]" }
