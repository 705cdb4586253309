// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Limits of a secret, in bytes. An environment variable may hold a file; a header of more than 16 KiB is refused by
// most servers.
const (
	maxName   = 256
	maxHeader = 16 << 10
	maxEnv    = 64 << 10
	maxClient = 4 << 10
	maxGrant  = 64 << 10
)

// validate refuses what could not be sent as a header or set as a variable, or would be more than one. It never says a
// value.
func (s Secret) validate() error {
	f := fault.New(fault.Invalid, ReasonInvalid, "The secret cannot be used as it is.")
	if len(s.Headers)+len(s.Env)+len(s.ClientSecret)+len(s.Grant) == 0 {
		f = f.At("secret", "is empty")
	}
	for _, name := range names(s.Headers) {
		if problem := headerProblem(name, s.Headers[name]); problem != "" {
			f = f.At("secret.headers["+name+"]", problem)
		}
	}
	for _, name := range names(s.Env) {
		if problem := envProblem(name, s.Env[name]); problem != "" {
			f = f.At("secret.env["+name+"]", problem)
		}
	}
	if problem := clientProblem(s.ClientSecret); problem != "" {
		f = f.At("secret.client_secret", problem)
	}
	if len(s.Grant) > maxGrant {
		f = f.At("secret.grant", "is longer than 64 KiB")
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// clientProblem follows RFC 6749 appendix A.2: printable ASCII. A private key, which stands for a secret and is never sent, has lines.
func clientProblem(value obs.Secret) string {
	v := value.Reveal()
	if strings.HasPrefix(v, "-----BEGIN PRIVATE KEY-----") {
		v = strings.NewReplacer("\r\n", "", "\n", "").Replace(v)
	}
	switch {
	case len(value) > maxClient:
		return "is longer than 4 KiB"
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }):
		return "has a character that is not printable ASCII"
	}
	return ""
}

// headerProblem follows RFC 9110 §5.1 and §5.5.
func headerProblem(name string, value obs.Secret) string {
	switch v := value.Reveal(); {
	case name == "" || len(name) > maxName || strings.ContainsFunc(name, notTokenChar):
		return "is no header name"
	case len(v) > maxHeader:
		return "has a value longer than 16 KiB"
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "has a value with a control character"
	case !utf8.ValidString(v):
		return "has a value that is not UTF-8"
	case v != strings.Trim(v, " \t"):
		return "has a value with white space around it"
	}
	return ""
}

func envProblem(name string, value obs.Secret) string {
	switch v := value.Reveal(); {
	case name == "" || len(name) > maxName || strings.ContainsAny(name, "=\x00") || !utf8.ValidString(name):
		return "is no name of an environment variable"
	case len(v) > maxEnv:
		return "has a value longer than 64 KiB"
	case strings.ContainsRune(v, 0):
		return "has a value with a NUL"
	case !utf8.ValidString(v):
		return "has a value that is not UTF-8"
	}
	return ""
}

func notTokenChar(r rune) bool {
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
