// SPDX-License-Identifier: Apache-2.0

package params

import (
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// MaxBody is how long a body may be, in bytes.
const MaxBody = 64 << 10

// tooLarge is the status 413 Content Too Large (RFC 9110 §15.5.14).
const tooLarge = 413

// mediaType is the only one (RFC 6749 §4.1.3, Appendix B).
const mediaType = "application/x-www-form-urlencoded"

// Parse returns the parameters of a request to the token, revocation or introspection endpoint, or an invalid_request:
// another content type, anything in the query of the URL (AS-15), a parameter twice (AS-16) except resource and audience
// (RFC 8707 §2), control characters, or what is no form at all. A parameter without a value counts as omitted (RFC 6749
// §3.2), except resource, whose empty value is a wrong one.
func Parse(contentType []string, rawQuery string, body []byte) (url.Values, error) {
	if rawQuery != "" {
		return nil, bad("Parameters count in the body only: the URL must have no query.")
	}
	if len(contentType) != 1 {
		return nil, bad("The content type must be " + mediaType + ".")
	}
	if got, _, err := mime.ParseMediaType(contentType[0]); err != nil || got != mediaType {
		return nil, bad("The content type must be " + mediaType + ".")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, bad("The body is no form.")
	}
	for name, values := range form {
		if !printable(name) || slices.ContainsFunc(values, func(v string) bool { return !printable(v) }) {
			return nil, bad("A parameter holds characters that are not allowed.")
		}
		if name == "resource" || name == "audience" {
			continue
		}
		if len(values) > 1 {
			return nil, bad("A parameter is there twice.")
		}
		if values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// Read reads a body of up to [MaxBody] bytes. A longer one is an invalid_request with the status 413.
func Read(body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, MaxBody+1))
	if err != nil {
		return nil, bad("The body cannot be read.").Because(err)
	}
	if len(raw) > MaxBody {
		refused := bad("The body is too long.")
		refused.Status = tooLarge
		return nil, refused
	}
	return raw, nil
}

// printable reports whether a text can be stored and logged as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Scopes returns the scopes of a scope parameter, each once, in order. A text that is none is invalid_scope (RFC 6749 §3.3).
func Scopes(text string) ([]string, error) {
	var list []string
	for scope := range strings.SplitSeq(text, " ") {
		if scope == "" {
			continue
		}
		if strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return nil, oauthfault.New(oauthfault.InvalidScope, "The scope holds characters that are not allowed.").For("scope_malformed")
		}
		if !slices.Contains(list, scope) {
			list = append(list, scope)
		}
	}
	return list, nil
}

func bad(description string) *oauthfault.Error {
	return oauthfault.New(oauthfault.InvalidRequest, description).For("request_malformed")
}
