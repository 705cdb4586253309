// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Bounds of a URL, the second from RFC 1035 §2.3.4.
const (
	maxURL  = 2048
	maxHost = 253
)

// CheckURL parses raw and refuses what may not be called: anything but
// absolute http and https URLs, user information, fragments (even empty
// ones), control characters, spaces and backslashes, names outside ASCII,
// numbers that some resolvers read as IPv4 addresses (0x7f.1, 2130706433),
// ports outside 1 to 65535, and an IP literal or loopback name that the
// policy does not open. A name is not resolved here: [Policy.DialContext]
// judges its addresses at each dial.
//
// The faults are Invalid URL_INVALID and Precondition EGRESS_REFUSED.
func (p Policy) CheckURL(raw string) (*url.URL, error) {
	if raw == "" || len(raw) > maxURL {
		return nil, refuse("is empty or longer than 2048 bytes")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return nil, refuse("holds a space, a control character, a backslash or a character outside ASCII")
	}
	if strings.Contains(raw, "#") {
		return nil, refuse("has a fragment")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, refuse("cannot be parsed") // the cause would repeat the URL, which may hold a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return nil, refuse("is not an absolute http or https URL")
	}
	if u.User != nil {
		return nil, refuse("holds user information")
	}
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	literal, err := netip.ParseAddr(host)
	switch {
	case err == nil:
	case !isName(host):
		return nil, refuse("has no valid host name")
	case isLoopbackName(host):
		literal = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		return u, nil
	}
	if err := p.check(host, port, literal); err != nil {
		return nil, err
	}
	return u, nil
}

// Permit returns a policy that also opens loopback and private addresses for
// the host and port of u, and for nothing else: what an admin registered may
// be inside the deployment, what is discovered from it may not (auth design
// CIMD-5). u comes from [Policy.CheckURL] of a policy that opens it, or from
// [ParseURL].
func (p Policy) Permit(u *url.URL) (Policy, error) {
	port, err := portOf(u)
	if err != nil {
		return Policy{}, err
	}
	var prefixes []netip.Prefix
	for _, s := range specials() {
		if s.class == loopback || s.class == private {
			prefixes = append(prefixes, s.prefix)
		}
	}
	// Clip, so that two policies made from one never share an element.
	p.Exceptions = append(slices.Clip(p.Exceptions), Exception{Host: u.Hostname(), Port: port, Prefixes: prefixes})
	return p, nil
}

// ParseURL checks a URL that an admin registered: as [Policy.CheckURL] with
// loopback and private addresses open.
func ParseURL(raw string) (*url.URL, error) {
	return Policy{AllowLoopback: true, AllowPrivate: true}.CheckURL(raw)
}

func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return 0, refuse("has an empty port")
		}
		if u.Scheme == "https" {
			return 443, nil
		}
		return 80, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, refuse("has a port outside 1 to 65535")
	}
	return uint16(n), nil
}

// isName reports whether host is a DNS name of letters, digits, hyphens and
// underscores, whose last label is no number: "127.1" and "0x7f000001" are
// names to a parser and addresses to some resolvers (WHATWG URL, "ends in a
// number checker").
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHost {
		return false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-") ||
			strings.ContainsFunc(l, func(r rune) bool { return !isNameChar(r) }) {
			return false
		}
	}
	last := strings.ToLower(labels[len(labels)-1])
	if strings.Trim(last, "0123456789") == "" {
		return false
	}
	digits, hex := strings.CutPrefix(last, "0x")
	return !hex || strings.Trim(digits, "0123456789abcdef") != ""
}

func isNameChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

func refuse(why string) error {
	return fault.Newf(fault.Invalid, ReasonURL, "The URL %s.", why).At("url", why)
}
