// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	minAccessToken = 5 * time.Minute // clients refresh five minutes before the end (TK-6)
	maxGrace       = 5 * time.Minute // TK-9
)

// Validate returns Invalid, AUTHSERVER_CONFIG_INVALID, with every setting that cannot be used.
func (s *Settings) Validate() error {
	f := fault.New(fault.Invalid, ReasonConfig, "The settings of the authserver cannot be used.")
	if s.Vault.Keyset == "" && !s.Audit.Export && s.Copy.To == "" {
		f = f.At("vault.keyset", "is empty: it names the key file, without which no secret can be kept")
	}
	switch {
	case s.Vault.Rotate:
	case s.Audit.Export, s.Copy.To != "":
		if s.Database == "" {
			f = f.At("database", "is empty: set it to the URL that the running authserver has")
		}
	case s.Signing.Asked():
		f = s.validateSigning(f)
	default:
		f = s.validateServer(f)
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// validateSigning checks what a command on the signing keys needs: the store, and the life of the tokens that are out.
func (s *Settings) validateSigning(f *fault.Fault) *fault.Fault {
	if s.Database == "" {
		f = f.At("database", "is empty: set it to the URL that the running authserver has")
	}
	if s.Signing.count() > 1 {
		f = f.At("signing", "asks for more than one thing: list, rotate and revoke go one at a time")
	}
	return s.OAuth.validate(f)
}

// validateServer checks what only a server that runs needs.
func (s *Settings) validateServer(f *fault.Fault) *fault.Fault {
	if s.Database == "" {
		f = f.At("database", "is empty: set it to sqlite:/// with a path, or to a postgres:// URL")
	}
	if s.Data.Dir == "" {
		f = f.At("data.dir", "is empty: the authserver keeps its last known good directory there")
	}
	if problem := issuerProblem(s.Issuer); problem != "" {
		f = f.At("issuer", problem)
	}
	if u, err := url.Parse(s.Gateways.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || (u.Path != "" && u.Path != "/") {
		f = f.At("gateways.url", "is no origin: set it to something like https://gw.example.com")
	}
	if len(s.ControlPlane.Endpoints) == 0 {
		f = f.At("control_plane.endpoints", "is empty: the authserver follows at least one control plane")
	}
	if _, problem := s.proxies(); problem != "" {
		f = f.At("public.trusted_proxies", "has "+problem+", which is no network such as 10.0.0.0/8")
	}
	if _, problem := s.Egress.policy(); problem != "" {
		f = f.At("egress.allow", "has "+problem+", which is not host=network, such as idp.internal=10.1.0.0/16")
	}
	f = s.OAuth.validate(f)
	switch {
	case s.joins() && s.TLS.TrustDomain == "":
		f = f.At("tls.trust_domain", "is empty")
	case s.Credential.Listen != "" && !s.joins():
		f = s.TLS.validate(f)
	}
	if s.Shutdown.Drain < 0 {
		f = f.At("shutdown.drain", "is negative")
	}
	return f
}

func (o *OAuthSettings) validate(f *fault.Fault) *fault.Fault {
	if o.AccessTokenLife <= minAccessToken || o.AccessTokenLife > time.Hour {
		f = f.At("oauth.access_token_life", "is not more than 5 minutes and at most an hour: clients exchange tokens 5 minutes early")
	}
	if o.RefreshIdle <= 0 || o.RefreshAbsolute < o.RefreshIdle {
		f = f.At("oauth.refresh_idle", "is not between zero and oauth.refresh_absolute")
	}
	if o.RefreshGrace < 0 || o.RefreshGrace > maxGrace {
		f = f.At("oauth.refresh_grace", "is not between 0 and 300 s")
	}
	if o.DCR == "initial_access_token" && o.InitialAccessToken == "" {
		f = f.At("oauth.initial_access_token", "is empty: oauth.dcr is initial_access_token")
	}
	if _, err := redirect.NewRules(o.PrivateRedirects); err != nil {
		f = f.At("oauth.private_use_redirects", "cannot be used: "+err.Error())
	}
	if o.CIMD == "allow_listed" && len(o.CIMDAllow) == 0 {
		f = f.At("oauth.cimd_allow", "is empty: oauth.cimd is allow_listed; set it to off to fetch nothing")
	}
	return f
}

func (t TLSSettings) validate(f *fault.Fault) *fault.Fault {
	for _, file := range []struct{ path, value string }{{"tls.cert", t.Cert}, {"tls.key", t.Key}, {"tls.ca", t.CA}} {
		if file.value == "" {
			f = f.At(file.path, "is empty: credential.listen serves mutual TLS only")
		}
	}
	if t.TrustDomain == "" {
		f = f.At("tls.trust_domain", "is empty")
	}
	return f
}

// issuerProblem checks an issuer identifier (RFC 8414 §2, AS-2, AS-3, AS-17); empty is none.
func issuerProblem(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "":
		return "is no URL such as https://auth.example.com"
	case u.RawQuery != "" || u.ForceQuery || strings.ContainsRune(issuer, '#'):
		return "has a query or a fragment"
	case strings.HasSuffix(issuer, "/"):
		return "ends with a slash: clients compare it letter by letter, so write it without one"
	case u.String() != issuer || strings.ToLower(u.Host) != u.Host:
		return "is not in its plain form: lower-case scheme and host, nothing escaped"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && loopback(u.Hostname()):
		return ""
	case u.Scheme == "http":
		return "is http and not on this machine: people's passwords need https"
	default:
		return "is neither http nor https"
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.IsLoopback())
}
