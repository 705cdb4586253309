// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Paths below the issuer (auth.md "URLs").
const (
	AuthorizePath  = "/api/auth/oauth2/authorize"
	TokenPath      = "/api/auth/oauth2/token"
	RegisterPath   = "/api/auth/oauth2/register"
	RevokePath     = "/api/auth/oauth2/revoke"
	IntrospectPath = "/api/auth/oauth2/introspect"
	JWKSPath       = "/api/auth/jwks"

	ServerPath = "/.well-known/oauth-authorization-server" // RFC 8414 §3
	OpenIDPath = "/.well-known/openid-configuration"       // OpenID Connect Discovery 1.0 §4
)

// Config is what the document says.
type Config struct {
	Issuer string // https, or http on a loopback host; no trailing slash, query or fragment
	// Registration lists the registration endpoint (AS-5); it is on while clients may register themselves.
	Registration bool
	// MetadataDocuments says that a client_id may be the URL of a client's document (AS-5).
	MetadataDocuments bool
	// ClientSecrets lists the authentication methods with a secret (AS-7): while a client can have one.
	ClientSecrets bool
	// ClientCredentials lists the grant type (AS-8).
	ClientCredentials bool
	// Assertions reports whether clients may bring identity assertions at the moment: then their grant type and profile are
	// listed (AS-8, AS-9), never who makes them. nil: they may not.
	Assertions func() bool
	// Documentation is the service_documentation, a URL; empty: none (AS-12).
	Documentation string
}

// metadata is the document, in the order in which it is served. What is empty is not there (AS-13).
type metadata struct {
	Issuer            string   `json:"issuer"`
	Authorize         string   `json:"authorization_endpoint"`
	Token             string   `json:"token_endpoint"`
	Register          string   `json:"registration_endpoint,omitempty"`
	Revoke            string   `json:"revocation_endpoint"`
	Introspect        string   `json:"introspection_endpoint"`
	JWKS              string   `json:"jwks_uri"`
	ResponseTypes     []string `json:"response_types_supported"`
	ResponseModes     []string `json:"response_modes_supported"`
	GrantTypes        []string `json:"grant_types_supported"`
	GrantProfiles     []string `json:"authorization_grant_profiles_supported,omitempty"`
	Challenges        []string `json:"code_challenge_methods_supported"`
	Methods           []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Scopes            []string `json:"scopes_supported"`
	Documentation     string   `json:"service_documentation,omitempty"`
	MetadataDocuments bool     `json:"client_id_metadata_document_supported,omitempty"`
	Iss               bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
}

// Discovery serves the document. It is immutable.
type Discovery struct {
	assertions       func() bool
	plain, asserting []byte // the document without and with identity assertions
}

// The grant type of identity assertions (RFC 7523 §2.1), and the profile that says what they are
// (draft-ietf-oauth-identity-assertion-authz-grant).
const (
	assertionGrant   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionProfile = "urn:ietf:params:oauth:grant-profile:id-jag"
)

// New makes the document. An issuer that RFC 8414 §2 does not allow is an error.
func New(c Config) (*Discovery, error) {
	if err := checkIssuer(c.Issuer); err != nil {
		return nil, err
	}
	m := metadata{
		Issuer: c.Issuer, Authorize: c.Issuer + AuthorizePath, Token: c.Issuer + TokenPath, Revoke: c.Issuer + RevokePath,
		Introspect: c.Issuer + IntrospectPath, JWKS: c.Issuer + JWKSPath,
		ResponseTypes: []string{"code"}, ResponseModes: []string{"query"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Challenges: []string{"S256"},
		Methods: []string{"none", "private_key_jwt"}, Algorithms: []string{"ES256", "RS256", "PS256"},
		Scopes: []string{"mcp", "offline_access"}, Documentation: c.Documentation,
		MetadataDocuments: c.MetadataDocuments, Iss: true,
	}
	if c.Registration {
		m.Register = c.Issuer + RegisterPath
	}
	if c.ClientSecrets {
		m.Methods = append(m.Methods, "client_secret_basic", "client_secret_post")
	}
	if c.ClientCredentials {
		m.GrantTypes = append(m.GrantTypes, "client_credentials")
	}
	d := &Discovery{assertions: c.Assertions}
	var err error
	if d.plain, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("encode the metadata: %w", err)
	}
	m.GrantTypes, m.GrantProfiles = slices.Insert(m.GrantTypes, 2, assertionGrant), []string{assertionProfile}
	if d.asserting, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("encode the metadata: %w", err)
	}
	return d, nil
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(issuer, "?#"):
		return fmt.Errorf("the issuer %q is no URL of an authorization server", issuer)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("the issuer %q has another scheme than https", issuer)
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("the issuer %q ends with a slash", issuer)
	}
	return nil
}

// Document returns the document as it is served now. It must not be changed.
func (d *Discovery) Document() []byte {
	if d.assertions != nil && d.assertions() {
		return d.asserting
	}
	return d.plain
}

// ServeHTTP answers GET and HEAD with the document, for every origin and for five minutes (AS-1). Nothing of the request
// counts but its method (AS-18).
func (d *Discovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "max-age=300")
	_, _ = w.Write(d.Document())
}
