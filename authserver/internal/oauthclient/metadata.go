// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// probe asks a server for nothing: one that wants a token answers 401 and says where its metadata are (RFC 9728 §5.1).
const probe = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

var (
	metadataParam = regexp.MustCompile(`(?i)\bresource_metadata="?([^",\s]+)"?`)
	scopeParam    = regexp.MustCompile(`(?i)\bscope="([^"]*)"`)
)

// Resource is what a protected resource says about itself (RFC 9728 §2).
type Resource struct {
	Resource string   `json:"resource"`              // its identifier: what tokens are asked for (RFC 8707)
	Servers  []string `json:"authorization_servers"` // issuers, one at least
	Scopes   []string `json:"scopes_supported"`      // what its challenge wants, else what it knows
}

// Resource asks a server for its metadata: at the place that it names in a challenge, else at the well-known ones, with the path and
// without (RFC 9728 §3.1, MCP 2025-11-25 basic/authorization). Its own host is permitted, since an administrator registered it; no
// other that it names is (CIMD-5). name is the server's, for errors; at is its URL. Besides those of [Requester.Get], the faults are
// Precondition UPSTREAM_METADATA, UPSTREAM_RESOURCE_MISMATCH and UPSTREAM_INSECURE.
func (r Requester) Resource(ctx context.Context, name, at string) (Resource, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return Resource{}, refuse(ReasonMetadata, "The server %q has no URL.", name)
	}
	own := r
	if own.Egress, err = r.Egress.Permit(u); err != nil {
		return Resource{}, err
	}
	challenged, err := own.PostJSON(ctx, TheServer, at, probe, http.Header{"Accept": {"application/json, text/event-stream"}})
	if err != nil {
		return Resource{}, err
	}
	challenge := strings.Join(challenged.Header.Values("Www-Authenticate"), ", ")
	base := u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource"
	places := []string{base + strings.TrimSuffix(u.EscapedPath(), "/"), base}
	if m := metadataParam.FindStringSubmatch(challenge); m != nil && challenged.Status == http.StatusUnauthorized {
		if Origin(m[1]) != Origin(at) {
			if err := r.Secure(TheResource, at, m[1]); err != nil {
				return Resource{}, err
			}
		}
		places = []string{m[1]}
	}
	for _, place := range slices.Compact(places) {
		d, ok, err := own.readResource(ctx, place, at)
		if err != nil || ok {
			if m := scopeParam.FindStringSubmatch(challenge); m != nil && m[1] != "" {
				d.Scopes = strings.Fields(m[1]) // what this server wants now goes before what it knows
			}
			return d, err
		}
	}
	return Resource{}, refuse(ReasonMetadata,
		"The server %q has no protected resource metadata (RFC 9728): set %s, or %s.", name, r.Settings.Issuer, r.Settings.Endpoints)
}

func (r Requester) readResource(ctx context.Context, place, server string) (d Resource, ok bool, err error) {
	a, err := r.Get(ctx, TheResource, place)
	if err != nil || a.Status != http.StatusOK {
		return d, false, err
	}
	if err := a.Decode(&d); err != nil || len(d.Servers) == 0 {
		return d, false, refuse(ReasonMetadata, "The %s names no authorization server.", TheResource)
	}
	if !within(server, d.Resource) {
		return d, false, refuse(ReasonResource, "The %s is that of another resource than the server's URL.", TheResource)
	}
	return d, true, nil
}

// within reports whether a resource identifier covers a server's URL: the same, or one above it on the same host, as MCP allows.
func within(server, resource string) bool {
	s, r := strings.TrimSuffix(server, "/"), strings.TrimSuffix(resource, "/")
	return Origin(server) != "" && Origin(server) == Origin(resource) && (s == r || strings.HasPrefix(s, r+"/"))
}

// Server is what an authorization server says about itself (RFC 8414 §2). Nothing of it is checked but the issuer: whoever uses an
// endpoint calls [Requester.Secure].
type Server struct {
	Issuer      string   `json:"issuer"`
	Authorize   string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Register    string   `json:"registration_endpoint"`
	Revoke      string   `json:"revocation_endpoint"`
	Methods     []string `json:"token_endpoint_auth_methods_supported"`
	Algorithms  []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Challenges  []string `json:"code_challenge_methods_supported"`
	Grants      []string `json:"grant_types_supported"`
	Scopes      []string `json:"scopes_supported"`
	TakesID     bool     `json:"client_id_metadata_document_supported"`
	NamesIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
}

// Server reads the metadata of an issuer (RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4) and checks that they are its own, byte for
// byte (RFC 8414 §3.3). Besides those of [Requester.Get], the faults are Precondition UPSTREAM_METADATA, UPSTREAM_ISSUER_MISMATCH
// and those of [Requester.Secure].
func (r Requester) Server(ctx context.Context, issuer string) (*Server, error) {
	if err := r.Secure("issuer", issuer, issuer); err != nil {
		return nil, err
	}
	at, err := url.Parse(issuer)
	if err != nil || at.RawQuery != "" {
		return nil, refuse(ReasonMetadata, "The issuer %s is no issuer identifier (RFC 8414).", issuer)
	}
	path, base := strings.TrimSuffix(at.EscapedPath(), "/"), at.Scheme+"://"+at.Host
	places := []string{
		base + "/.well-known/oauth-authorization-server" + path,
		base + "/.well-known/openid-configuration" + path,
		base + path + "/.well-known/openid-configuration",
	}
	for _, place := range slices.Compact(places) {
		a, err := r.Get(ctx, TheMetadata, place)
		if err != nil {
			return nil, err
		}
		if a.Status != http.StatusOK {
			continue
		}
		s := &Server{}
		if err := a.Decode(s); err != nil {
			return nil, fault.Newf(fault.Precondition, ReasonMetadata, "The %s cannot be read.", TheMetadata).Because(err)
		}
		if s.Issuer != issuer {
			return nil, refuse(ReasonIssuer, "The metadata at %s are those of another issuer.", place)
		}
		return s, nil
	}
	return nil, refuse(ReasonMetadata, "The authorization server %s has no metadata (RFC 8414): set %s.", issuer, r.Settings.Endpoints)
}
