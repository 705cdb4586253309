// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// What is asked, for errors that an administrator reads.
const (
	theServer   = "server"
	theResource = "server's protected resource metadata"
	theMetadata = "authorization server's metadata"
	theAuthz    = "authorization endpoint"
	theToken    = "token endpoint"
	theRegister = "registration endpoint"
	theRevoke   = "revocation endpoint"
)

// probe asks a server for nothing: one that wants a token answers 401 and says where its metadata are (RFC 9728 §5.1).
const probe = `{"jsonrpc":"2.0","id":1,"method":"ping"}`

var (
	metadataParam = regexp.MustCompile(`(?i)\bresource_metadata="?([^",\s]+)"?`)
	scopeParam    = regexp.MustCompile(`(?i)\bscope="([^"]*)"`)
)

// found is the authorization server of a server.
type found struct {
	Issuer       string   `json:"issuer"`
	Authorize    string   `json:"authorization_endpoint"`
	Token        string   `json:"token_endpoint"`
	Register     string   `json:"registration_endpoint"`
	Revoke       string   `json:"revocation_endpoint"`
	Methods      []string `json:"token_endpoint_auth_methods_supported"`
	Challenges   []string `json:"code_challenge_methods_supported"`
	Scopes       []string `json:"scopes_supported"`
	TakesID      bool     `json:"client_id_metadata_document_supported"`
	NamesIssuer  bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	resource     string   // what tokens are asked for (RFC 8707); empty: not said
	wantedScopes []string
}

// discover finds the authorization server of a server: the one that an administrator described, else the metadata of the pinned
// issuer, else of the one that the server names (RFC 9728).
func (u *Upstream) discover(ctx context.Context, s *directory.Server) (*found, error) {
	o := s.OAuth
	if o.TokenEndpoint != "" {
		f := &found{Issuer: o.Issuer, Authorize: o.AuthorizationEndpoint, Token: o.TokenEndpoint, wantedScopes: o.Scopes, resource: s.URL}
		return f, u.checkEndpoints(f, o.TokenEndpoint)
	}
	issuer, resource, scopes := o.Issuer, s.URL, o.Scopes
	if issuer == "" {
		said, err := u.resourceMetadata(ctx, s)
		if err != nil {
			return nil, err
		}
		issuer, resource = said.Servers[0], said.Resource
		if len(scopes) == 0 {
			scopes = said.Scopes
		}
	}
	f, err := u.serverMetadata(ctx, issuer)
	if err != nil {
		return nil, err
	}
	// OAuth 2.1 and MCP make PKCE a duty, and a list without S256 breaks it. An issuer that an administrator pinned may leave the
	// list out: Entra ID does, and takes S256.
	if !slices.Contains(f.Challenges, "S256") && (len(f.Challenges) > 0 || o.Issuer == "") {
		return nil, refuse(ReasonPKCE, "The authorization server %s does not say that it takes PKCE with S256. If it does, pin it: oauth.issuer.", issuer)
	}
	f.resource, f.wantedScopes = resource, scopes
	if len(o.Scopes) == 0 && len(scopes) > 0 && slices.Contains(f.Scopes, offlineAccess) && !slices.Contains(scopes, offlineAccess) {
		f.wantedScopes = append(slices.Clone(scopes), offlineAccess) // or there would be no refresh token
	}
	return f, u.checkEndpoints(f, issuer)
}

const offlineAccess = "offline_access"

func (u *Upstream) checkEndpoints(f *found, issuer string) error {
	if err := u.secure(theAuthz, issuer, f.Authorize); err != nil {
		return err
	}
	if err := u.secure(theToken, issuer, f.Token); err != nil {
		return err
	}
	if f.Register != "" {
		return u.secure(theRegister, issuer, f.Register)
	}
	return nil
}

// described is what a protected resource says about itself (RFC 9728 §2).
type described struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
	Scopes   []string `json:"scopes_supported"`
}

// resourceMetadata asks a server for its metadata: at the place that it names in a challenge, else at the well-known ones, with
// the path and without (RFC 9728 §3.1, MCP 2025-11-25 basic/authorization). Its own host is permitted, since an administrator
// registered it; no other that it names is (CIMD-5).
func (u *Upstream) resourceMetadata(ctx context.Context, s *directory.Server) (described, error) {
	at, err := url.Parse(s.URL)
	if err != nil || at.Host == "" {
		return described{}, refuse(ReasonMetadata, "The server %q has no URL.", s.Name)
	}
	own, err := u.c.Egress.Permit(at)
	if err != nil {
		return described{}, err
	}
	challenged, err := post(ctx, own, theServer, s.URL, jsonType, probe, http.Header{"Accept": {"application/json, text/event-stream"}})
	if err != nil {
		return described{}, err
	}
	challenge := strings.Join(challenged.header.Values("Www-Authenticate"), ", ")
	base := at.Scheme + "://" + at.Host + "/.well-known/oauth-protected-resource"
	places := []string{base + strings.TrimSuffix(at.EscapedPath(), "/"), base}
	if m := metadataParam.FindStringSubmatch(challenge); m != nil && challenged.status == http.StatusUnauthorized {
		if origin(m[1]) != origin(s.URL) {
			if err := u.secure(theResource, s.URL, m[1]); err != nil {
				return described{}, err
			}
		}
		places = []string{m[1]}
	}
	for _, place := range slices.Compact(places) {
		d, ok, err := readResource(ctx, own, place, s.URL)
		if err != nil || ok {
			if m := scopeParam.FindStringSubmatch(challenge); m != nil && m[1] != "" {
				d.Scopes = strings.Fields(m[1]) // what this server wants now goes before what it knows
			}
			return d, err
		}
	}
	return described{}, refuse(ReasonMetadata,
		"The server %q has no protected resource metadata (RFC 9728): set oauth.issuer, or oauth.authorization_endpoint and oauth.token_endpoint.", s.Name)
}

func readResource(ctx context.Context, own egress.Policy, place, server string) (d described, ok bool, err error) {
	a, err := get(ctx, own, theResource, place)
	if err != nil || a.status != http.StatusOK {
		return d, false, err
	}
	if err := a.decode(&d); err != nil || len(d.Servers) == 0 {
		return d, false, refuse(ReasonMetadata, "The %s names no authorization server.", theResource)
	}
	if !within(server, d.Resource) {
		return d, false, refuse(ReasonResource, "The %s is that of another resource than the server's URL.", theResource)
	}
	return d, true, nil
}

// within reports whether a resource identifier covers a server's URL: the same, or one above it on the same host, as MCP allows.
func within(server, resource string) bool {
	s, r := strings.TrimSuffix(server, "/"), strings.TrimSuffix(resource, "/")
	return origin(server) != "" && origin(server) == origin(resource) && (s == r || strings.HasPrefix(s, r+"/"))
}

// serverMetadata reads the metadata of an issuer (RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4) and checks that they are its
// own, byte for byte (RFC 8414 §3.3).
func (u *Upstream) serverMetadata(ctx context.Context, issuer string) (*found, error) {
	if err := u.secure("issuer", issuer, issuer); err != nil {
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
		a, err := get(ctx, u.c.Egress, theMetadata, place)
		if err != nil {
			return nil, err
		}
		if a.status != http.StatusOK {
			continue
		}
		f := &found{}
		if err := a.decode(f); err != nil {
			return nil, fault.Newf(fault.Precondition, ReasonMetadata, "The %s cannot be read.", theMetadata).Because(err)
		}
		if f.Issuer != issuer {
			return nil, refuse(ReasonIssuer, "The metadata at %s are those of another issuer.", place)
		}
		return f, nil
	}
	return nil, refuse(ReasonMetadata, "The authorization server %s has no metadata (RFC 8414): set oauth.authorization_endpoint and oauth.token_endpoint.", issuer)
}
