// SPDX-License-Identifier: Apache-2.0

package cimd

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// Prefix is what the client_id of such a client begins with, and no other (REG-11).
const Prefix = "https://"

const maxID = 512 // bytes (CIMD-1)

// ParseID checks that a client_id may be the URL of a document (CIMD-1): https, a path beyond /, nothing after the path,
// no dot segments, no user information, a host that the policy may let out. Nothing is resolved or sent. The URL is written
// as the client_id was, byte for byte (CIMD-2).
func ParseID(id string, policy egress.Policy) (*url.URL, error) {
	if !strings.HasPrefix(id, Prefix) || len(id) > maxID {
		return nil, fmt.Errorf("the client_id is no https URL of at most %d bytes", maxID)
	}
	if strings.ContainsAny(id, "?#") {
		return nil, errors.New("the client_id has a query or a fragment")
	}
	u, err := policy.CheckURL(id)
	if err != nil {
		return nil, fmt.Errorf("check the client_id: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		return nil, errors.New("the client_id has no path")
	}
	// The decoded path: a segment is one however it was written.
	segments := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' || r == '\\' })
	if slices.ContainsFunc(segments, func(s string) bool { return s == "." || s == ".." || strings.ContainsRune(s, 0) }) {
		return nil, errors.New("the client_id has a dot segment")
	}
	if u.String() != id {
		return nil, errors.New("the client_id is not written as a URL is")
	}
	return u, nil
}

// Mode is whose documents are taken.
type Mode string

// The modes (CIMD-13).
const (
	Any         Mode = "any"
	AllowListed Mode = "allow_listed"
	Off         Mode = "off"
)

// Trust is whose documents a deployment takes. It is judged before anything is fetched.
type Trust struct {
	Mode Mode
	// Allowed is hosts ("client.example", port 443; "client.example:8443") and whole client_ids, for AllowListed.
	Allowed []string
	// SameOrigin demands that all https redirect URIs of a document have the origin of its URL (CIMD-14).
	SameOrigin bool
}

func (t Trust) validate() error {
	switch t.Mode {
	case Any, Off:
		return nil
	case AllowListed:
		if len(t.Allowed) == 0 {
			return errors.New("the list of allowed clients is empty")
		}
		return nil
	default:
		return fmt.Errorf("unknown mode %q", t.Mode)
	}
}

// allows reports whether the deployment takes the document of a client_id.
func (t Trust) allows(id string, u *url.URL) bool {
	switch t.Mode {
	case Any:
		return true
	case AllowListed:
		host := strings.TrimSuffix(strings.ToLower(u.Host), ":443")
		return slices.ContainsFunc(t.Allowed, func(entry string) bool {
			return entry == id || strings.TrimSuffix(strings.ToLower(entry), ":443") == host
		})
	default:
		return false
	}
}
