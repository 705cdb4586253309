// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of metadata (REG-8).
const (
	MaxName       = 256  // characters
	MaxSoftwareID = 256  // bytes
	MaxScope      = 1024 // bytes
	MaxList       = 64   // entries of a list
)

// Values of token_endpoint_auth_method (RFC 7591 §2, OpenID Connect Core §9).
const (
	MethodNone          = "none"
	MethodBasic         = "client_secret_basic"
	MethodPost          = "client_secret_post"
	MethodPrivateKeyJWT = "private_key_jwt"
)

// The grant types that clients may have by what they say themselves.
const (
	GrantCode    = "authorization_code"
	GrantRefresh = "refresh_token"
)

// Client is the metadata of a client, as far as it is used. Redirect URIs are as written: [redirect.Rules] judge them.
// The JSON form is what is stored.
type Client struct {
	ID           string   `json:"client_id,omitempty"`
	Name         string   `json:"client_name,omitempty"`
	RedirectURIs []string `json:"redirect_uris"`
	// Method is token_endpoint_auth_method as written, empty if it is missing; Methods its plural, which only documents
	// have (CIMD-11).
	Method  string   `json:"token_endpoint_auth_method,omitempty"`
	Methods []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	// Grants is the grant types that are supported. A client that names none has both.
	Grants          []string        `json:"grant_types,omitempty"`
	Responses       []string        `json:"response_types,omitempty"`
	Scope           string          `json:"scope,omitempty"`
	JWKS            json.RawMessage `json:"jwks,omitempty"`
	JWKSURI         string          `json:"jwks_uri,omitempty"`
	SoftwareID      string          `json:"software_id,omitempty"`
	SoftwareVersion string          `json:"software_version,omitempty"`

	// Statement reports that there is a software_statement, Secret that there is a client_secret or its end: both are for the
	// caller to refuse.
	Statement bool `json:"-"`
	Secret    bool `json:"-"`
}

// ErrRedirect is inside the error of [Parse] if redirect_uris are missing, no list of texts or too many.
var ErrRedirect = errors.New("redirect_uris")

// Parse reads the metadata of a client with 1 to mostRedirects redirect URIs. Members that it does not know are left out (RFC 7591 §2). The error says what is
// wrong in printable ASCII without quotes, and repeats nothing of the text.
func Parse(body []byte, mostRedirects int) (*Client, error) {
	members, err := object(body)
	if err != nil {
		return nil, err
	}
	r := reader{members: members}
	c := &Client{
		ID: r.text("client_id"), Name: r.text("client_name"), Method: r.text("token_endpoint_auth_method"),
		Methods: r.list("token_endpoint_auth_methods_supported"), Grants: r.list("grant_types"), Responses: r.list("response_types"),
		Scope: r.text("scope"), JWKSURI: r.text("jwks_uri"), SoftwareID: r.text("software_id"), SoftwareVersion: r.text("software_version"),
		Statement: r.has("software_statement"), Secret: r.has("client_secret") || r.has("client_secret_expires_at"),
	}
	if r.has("jwks") {
		c.JWKS = members["jwks"]
	}
	if r.err != nil {
		return nil, r.err
	}
	redirects := reader{members: members}
	c.RedirectURIs = redirects.list("redirect_uris")
	if redirects.err != nil || len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > mostRedirects {
		return nil, fmt.Errorf("%w must be a list of 1 to %d URIs", ErrRedirect, mostRedirects)
	}
	if err := c.check(r.has("grant_types"), r.has("response_types")); err != nil {
		return nil, err
	}
	return c, nil
}

// check judges the members that do not depend on the deployment, and keeps what is supported.
func (c *Client) check(grants, responses bool) error {
	switch {
	case utf8.RuneCountInString(c.Name) > MaxName || strings.ContainsFunc(c.Name, invisible):
		return fmt.Errorf("client_name must be at most %d printable characters", MaxName)
	case !printable(c.SoftwareID, MaxSoftwareID) || !printable(c.SoftwareVersion, MaxSoftwareID):
		return fmt.Errorf("software_id and software_version must be at most %d printable ASCII characters", MaxSoftwareID)
	case len(c.Scope) > MaxScope || strings.ContainsFunc(c.Scope, func(r rune) bool { return !isScope(r) }):
		return fmt.Errorf("scope must be at most %d bytes of names and spaces", MaxScope)
	case len(c.JWKS) > 0 && c.JWKSURI != "":
		return errors.New("jwks and jwks_uri are both there: keep one")
	}
	if len(c.JWKS) > 0 {
		if _, err := ParseKeys(c.JWKS); err != nil {
			return err
		}
	}
	supported := []string{GrantCode, GrantRefresh}
	if grants {
		supported = slices.DeleteFunc(supported, func(g string) bool { return !slices.Contains(c.Grants, g) })
	}
	c.Grants = supported
	if !responses || slices.Contains(c.Responses, "code") {
		c.Responses = []string{"code"}
	} else {
		c.Responses = nil
	}
	return nil
}

// invisible reports whether a character of a name shows nothing, or lets others show in another order: Unicode calls some
// fillers letters, which are blank all the same.
func invisible(r rune) bool {
	const blankBraille = '\u2800'
	return !unicode.IsPrint(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || r == blankBraille
}

func printable(s string, most int) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// isScope reports whether a character may stand in a list of scopes (RFC 6749 §3.3).
func isScope(r rune) bool { return r >= ' ' && r <= '~' && r != '"' && r != '\\' }

// Scopes returns those scopes of the metadata that are allowed, each once. None means that the client may have any: one
// that asks for nothing, or for nothing that is known, is not locked out (REG-10).
func (c *Client) Scopes(allowed []string) []string {
	var list []string
	for _, s := range strings.Fields(c.Scope) {
		if slices.Contains(allowed, s) && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// Fingerprint is the SHA-256 of what a registration says: two with the same one are the same client (REG-9). The order of
// redirect URIs does not matter.
func (c *Client) Fingerprint() [sha256.Size]byte {
	same := *c
	same.RedirectURIs = slices.Sorted(slices.Values(c.RedirectURIs))
	text, _ := json.Marshal(&same) // texts and valid JSON only: cannot fail
	return sha256.Sum256(text)
}

// reader takes typed members out of an object and keeps the first error. A null member is a missing one.
type reader struct {
	members map[string]json.RawMessage
	err     error
}

func (r *reader) has(name string) bool {
	raw, ok := r.members[name]
	return ok && string(raw) != "null"
}

func (r *reader) text(name string) string {
	var s string
	if r.has(name) {
		r.note(json.Unmarshal(r.members[name], &s), name+" must be a text")
	}
	return s
}

func (r *reader) list(name string) []string {
	var list []string
	if r.has(name) {
		err := json.Unmarshal(r.members[name], &list)
		if err == nil && len(list) > MaxList {
			err = errors.New("too many")
		}
		r.note(err, name+" must be a list of texts")
	}
	return list
}

func (r *reader) note(err error, text string) {
	if err != nil && r.err == nil {
		r.err = errors.New(text)
	}
}
