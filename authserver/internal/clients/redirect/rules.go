// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// MaxLength bounds a redirect URI, in bytes (REG-6).
const MaxLength = 2048

// Kind is what sort of redirect URI one is.
type Kind uint8

// The kinds.
const (
	HTTPS    Kind = iota + 1 // https on any host
	Loopback                 // http on 127.0.0.1, [::1] or localhost (RFC 8252 §7.3)
	Private                  // a private-use scheme (RFC 8252 §7.1)
)

var schemePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*$`)

// Rules say which redirect URIs may be registered. The zero value allows https on any host and http on loopback. It is
// safe for concurrent use and must not be changed.
type Rules struct {
	// Private is the private-use URIs that are allowed, each exactly as it stands here.
	Private []string
	// AnyPrivate allows every private-use URI whose scheme is not forbidden: an administrator has named it.
	AnyPrivate bool
}

// NewRules returns rules with the private-use URIs of known clients and those of a setting. It refuses a URI of the
// setting that is no private-use URI.
func NewRules(private []string) (Rules, error) {
	open := Rules{AnyPrivate: true}
	for _, uri := range private {
		kind, err := open.Check(uri)
		if err != nil {
			return Rules{}, fmt.Errorf("private-use redirect URI %q: %w", uri, err)
		}
		if kind != Private {
			return Rules{}, fmt.Errorf("private-use redirect URI %q: it is an http or https URI, which needs no entry", uri)
		}
	}
	return Rules{Private: slices.Concat(known(), private)}, nil
}

// known is the private-use URIs of clients that have no other way (auth.md §1).
func known() []string { return []string{"cursor://anysphere.cursor-mcp/oauth/callback"} }

// forbidden is the schemes that no setting allows (REG-7): a browser runs, shows or fetches what they name.
func forbidden() []string {
	return []string{
		"javascript", "data", "file", "blob", "about", "vbscript", "view-source", "ftp", "ws", "wss", "intent",
		"filesystem", "jar", "mailto", "tel", "sms", "chrome", "resource",
	}
}

// Check returns the kind of a redirect URI that may be registered. The error says in printable ASCII without quotes what
// is wrong, and repeats nothing of the URI but a host name that has been checked.
func (r Rules) Check(uri string) (Kind, error) {
	if err := checkText(uri); err != nil {
		return 0, err
	}
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok || !schemePattern.MatchString(scheme) {
		return 0, errors.New("it is not an absolute URI")
	}
	switch lower := strings.ToLower(scheme); {
	case slices.Contains(forbidden(), lower):
		return 0, errors.New("its scheme is never allowed")
	case lower == "https", lower == "http":
		return checkHTTP(scheme, uri)
	default:
		return r.checkPrivate(uri)
	}
}

// checkText is the rules for URIs of all kinds.
func checkText(uri string) error {
	switch {
	case uri == "":
		return errors.New("it is empty")
	case len(uri) > MaxLength:
		return fmt.Errorf("it is longer than %d bytes", MaxLength)
	case strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }):
		return errors.New("it has a space, a control character, a backslash or a character outside ASCII")
	case strings.Contains(uri, "#"):
		return errors.New("it has a fragment")
	case strings.Contains(uri, "*"):
		return errors.New("it has a wildcard")
	case hasDotSegment(uri):
		return errors.New("its path has a dot segment")
	}
	return nil
}

// hasDotSegment reports whether the path of a URI has a segment . or .., also percent-encoded: a browser takes it away.
func hasDotSegment(uri string) bool {
	path, _, _ := strings.Cut(uri, "?")
	if _, rest, ok := strings.Cut(path, "://"); ok {
		path = rest
	}
	path = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/").Replace(path)
	return slices.ContainsFunc(strings.Split(path, "/")[1:], func(s string) bool { return s == "." || s == ".." })
}

func checkHTTP(scheme, uri string) (Kind, error) {
	if scheme != strings.ToLower(scheme) || !strings.HasPrefix(uri, scheme+"://") {
		return 0, errors.New("it does not begin with https:// or http:// in small letters")
	}
	u, err := egress.ParseURL(uri)
	if err != nil {
		return 0, errors.New("it has user information, a bad host or a bad port")
	}
	if scheme == "https" {
		return HTTPS, nil
	}
	if _, _, ok := loopback(uri); !ok {
		return 0, fmt.Errorf("http is for 127.0.0.1, [::1] and localhost only, not for %s", u.Hostname())
	}
	return Loopback, nil
}

func (r Rules) checkPrivate(uri string) (Kind, error) {
	if !r.AnyPrivate && !slices.Contains(r.Private, uri) {
		return 0, errors.New("this private-use URI is not on the list of the deployment")
	}
	if u, err := url.Parse(uri); err != nil || u.User != nil {
		return 0, errors.New("it has user information or cannot be parsed")
	}
	return Private, nil
}

// Allowed returns those of the URIs that the rules allow.
func (r Rules) Allowed(uris []string) []string {
	var list []string
	for _, uri := range uris {
		if _, err := r.Check(uri); err == nil {
			list = append(list, uri)
		}
	}
	return list
}
