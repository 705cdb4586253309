// SPDX-License-Identifier: Apache-2.0

package oauthrule

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxURI is the longest redirect URI, in bytes.
const maxURI = 2048

var (
	// schemeRE is scheme of RFC 3986, section 3.1, in lower case.
	schemeRE = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	// uriRE is the characters of a URI (RFC 3986, section 2), without "#" and "*".
	uriRE = regexp.MustCompile(`^[A-Za-z0-9:/?\[\]@!$&'()+,;=._~%-]+$`)
)

// RedirectProblem says what is wrong with a redirect URI (REG-6, REG-7), for example "it holds a user name"; empty if
// nothing is. https leads to any host, http to this machine only. What an administrator registers is the list of exact
// private-use URIs; but a trusted client, which asks nobody for consent, must not be reached over a scheme that any
// program may claim (AZ-14).
func RedirectProblem(raw string, trusted bool) string {
	scheme, rest, _ := strings.Cut(raw, ":")
	u, err := url.Parse(raw)
	switch {
	case strings.ContainsAny(raw, "#*"):
		return "it has a fragment or a wildcard; redirect URIs are compared whole"
	case len(raw) > maxURI || !uriRE.MatchString(raw) || err != nil:
		return "it is not a URI of at most 2,048 characters (RFC 3986)"
	case !schemeRE.MatchString(scheme) || rest == "":
		return "it is not an absolute URI whose scheme is in small letters"
	case slices.Contains(deniedSchemes(), scheme):
		return fmt.Sprintf("the scheme %q is never redirected to", scheme)
	case u.User != nil:
		return "it holds a user name"
	case hasDotSegment(u):
		return "its path has a dot segment; write the path out"
	case scheme == "https" || scheme == "http":
		return webProblem(u)
	case trusted:
		return fmt.Sprintf("any program may claim the scheme %q; a trusted client has https and loopback redirect URIs only", scheme)
	default:
		return ""
	}
}

func webProblem(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	n, err := strconv.Atoi(port)
	switch {
	case host == "":
		return "it names no host"
	case u.Scheme == "http" && host != "localhost" && host != "127.0.0.1" && host != "::1":
		return "http is for 127.0.0.1, [::1] and localhost only; use https"
	case port == "" && strings.HasSuffix(u.Host, ":"), port != "" && (err != nil || n < 1 || n > 65535):
		return "its port is not 1 to 65535"
	default:
		return ""
	}
}

// deniedSchemes are those of REG-7, whatever anybody registers.
func deniedSchemes() []string {
	return []string{"javascript", "data", "file", "blob", "about", "vbscript", "view-source", "ftp", "ws", "wss", "intent"}
}

// hasDotSegment reports whether a path would change if it were resolved, percent-encoded dots included.
func hasDotSegment(u *url.URL) bool {
	return slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }) ||
		strings.HasPrefix(u.Opaque, "/") && path.Clean(u.Opaque) != u.Opaque
}
