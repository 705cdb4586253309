// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"net/netip"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// VaultSettings say where the keys are that seal secrets.
type VaultSettings struct {
	Keyset       string `name:"keyset" help:"key file: a Tink keyset in JSON, mode 0600"`
	CreateKeyset bool   `name:"create_keyset" help:"make the key file if it is missing and nothing is stored yet"`
	Rotate       bool   `name:"rotate" help:"add a new primary key to the key file, and end; running processes take it up and seal anew"`
}

// TLSSettings name the certificate of this process and the authorities of its peers.
type TLSSettings struct {
	Cert        string `name:"cert" help:"certificate chain, PEM; its SPIFFE ID has the role authserver"`
	Key         string `name:"key" help:"private key, PEM"`
	CA          string `name:"ca" help:"authorities of nodes and control planes, PEM"`
	TrustDomain string `name:"trust_domain" default:"penstock.internal" help:"SPIFFE trust domain of the deployment"`
}

func (t TLSSettings) files() tlsx.Files {
	return tlsx.Files{Cert: t.Cert, Key: t.Key, CA: t.CA, Role: ident.RoleAuthserver}
}

// OAuthSettings are the deployment's choices of auth.md §3 to §5.
type OAuthSettings struct {
	DCR                  string        `name:"dcr" default:"open" enum:"open,initial_access_token,allow_listed,off" help:"who may register a client by itself (RFC 7591)"`
	InitialAccessToken   obs.Secret    `name:"initial_access_token" help:"bearer token that a registration needs where dcr is initial_access_token"`
	RedirectHosts        []string      `name:"dcr_redirect_hosts" help:"further hosts of https callbacks where dcr is allow_listed"`
	PrivateRedirects     []string      `name:"private_use_redirects" help:"further redirect URIs with a scheme of their own, whole"`
	ConfidentialDCR      bool          `name:"dcr_confidential" help:"give clients that register themselves a secret if they ask for one"`
	CIMD                 string        `name:"cimd" default:"any" enum:"any,allow_listed,off" help:"whose client metadata documents are fetched"`
	CIMDAllow            []string      `name:"cimd_allow" help:"hosts or whole URLs of client metadata documents where cimd is allow_listed"`
	CIMDSameOrigin       bool          `name:"cimd_same_origin" help:"demand that https callbacks lie on the host of the client metadata document"`
	TrustedClients       []string      `name:"trusted_clients" help:"URLs of client metadata documents that need no consent"`
	RefreshTokens        string        `name:"refresh_tokens" default:"always" enum:"always,on_scope" help:"whether refresh tokens are given to all clients, or to those that ask for offline_access"`
	DefaultResource      string        `name:"default_resource" help:"URL of the gateway that a client without a resource parameter means"`
	AccessTokenLife      time.Duration `name:"access_token_life" default:"15m" help:"life of access tokens; more than 5 minutes"`
	RefreshIdle          time.Duration `name:"refresh_idle" default:"30d" help:"time after which an unused refresh token ends"`
	RefreshAbsolute      time.Duration `name:"refresh_absolute" default:"90d" help:"time after which people must log in again"`
	RefreshGrace         time.Duration `name:"refresh_grace" default:"60s" help:"time for which a replaced refresh token gives its successor again; at most 300 s"`
	EndpointAudience     bool          `name:"assertion_endpoint_audience" default:"true" help:"take client assertions whose audience is the token endpoint in place of the issuer"`
	ServiceDocumentation string        `name:"service_documentation" help:"URL of a page about this service, for the metadata"`
}

// LoginSettings say how people log in.
type LoginSettings struct {
	LocalUsers bool `name:"local_users" help:"let people log in with a password kept here, besides identity providers"`
}

// EgressSettings open addresses that the guard on outgoing connections would refuse.
type EgressSettings struct {
	Allow         []string `name:"allow" help:"exceptions, host=network: idp.internal=10.1.0.0/16"`
	AllowLoopback bool     `name:"allow_loopback" help:"let identity providers and documents be on this machine"`
	AllowPrivate  bool     `name:"allow_private" help:"let identity providers and documents be in private networks"`
}

// policy reads the exceptions; problem says which one cannot be read.
func (e EgressSettings) policy() (p egress.Policy, problem string) {
	p = egress.Policy{AllowLoopback: e.AllowLoopback, AllowPrivate: e.AllowPrivate}
	p.Exceptions, problem = egress.ParseExceptions(e.Allow)
	return p, problem
}

// proxies reads the networks of trusted proxies; problem says which one cannot be read.
func (s *Settings) proxies() (list []netip.Prefix, problem string) {
	for _, text := range s.Public.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, text
		}
		list = append(list, prefix.Masked())
	}
	return list, ""
}
