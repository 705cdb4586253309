// SPDX-License-Identifier: Apache-2.0

package oauthclient

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package. Where no kind is named it is Precondition: an administrator has to mend something, as the
// text says. The faults of [egress] pass through.
const (
	// ReasonMetadata: a metadata document is missing or cannot be used.
	ReasonMetadata = "UPSTREAM_METADATA"
	// ReasonIssuer: a document is another issuer's (RFC 8414 §3.3).
	ReasonIssuer = "UPSTREAM_ISSUER_MISMATCH"
	// ReasonResource: the resource metadata are those of another server (RFC 9728 §3.3).
	ReasonResource = "UPSTREAM_RESOURCE_MISMATCH"
	// ReasonInsecure: an endpoint is not protected by TLS.
	ReasonInsecure = "UPSTREAM_INSECURE"
	// ReasonClient: Penstock's client cannot authenticate with what is configured.
	ReasonClient = "UPSTREAM_CLIENT_REFUSED"
	// ReasonResponse: an answer that breaks the protocol.
	ReasonResponse = "UPSTREAM_RESPONSE_INVALID"
	// ReasonUnreachable: no answer, or one of a server in trouble (Unavailable).
	ReasonUnreachable = "UPSTREAM_UNREACHABLE"
)

// What is asked, for errors that an administrator reads.
const (
	TheServer        = "server"
	TheResource      = "server's protected resource metadata"
	TheMetadata      = "authorization server's metadata"
	TheAuthorization = "authorization endpoint"
	TheToken         = "token endpoint"
	TheRegistration  = "registration endpoint"
	TheRevocation    = "revocation endpoint"
)

// Requester sends requests to authorization servers. It may be copied, and is safe for concurrent use.
type Requester struct {
	Egress   egress.Policy    // of everything but a registered server's own host (CIMD-5)
	Now      func() time.Time // never nil
	Settings Settings
}

// Settings are the names of what an administrator sets where metadata are missing, as errors repeat them.
type Settings struct {
	Issuer    string // for example "oauth.issuer"
	Endpoints string // for example "oauth.authorization_endpoint and oauth.token_endpoint"
}

// Secure refuses an endpoint that is not as safe as its issuer: https, or plain where both are on this machine. An address that
// the policy refuses is refused before anybody is sent there. what is one of the names above. The faults are Precondition
// UPSTREAM_INSECURE, URL_INVALID and EGRESS_REFUSED.
func (r Requester) Secure(what, issuer, endpoint string) error {
	e, err := r.Egress.CheckURL(endpoint)
	if err != nil {
		f := fault.From(err)
		return fault.Newf(fault.Precondition, f.Reason, "The %s cannot be used: %s", what, f.Public).Because(err)
	}
	if e.Scheme == "https" {
		return nil
	}
	if i, err := url.Parse(issuer); err == nil && i.Scheme == "http" && isLoopback(i.Hostname()) && isLoopback(e.Hostname()) {
		return nil
	}
	return refuse(ReasonInsecure, "The %s is not an https URL.", what)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Origin returns scheme, host and port of a URL, without the scheme's own port; empty for what is no URL.
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

func refuse(reason, text string, args ...any) *fault.Fault {
	return fault.Newf(fault.Precondition, reason, text, args...)
}

func unreachable(what string, cause error) *fault.Fault {
	return fault.Newf(fault.Unavailable, ReasonUnreachable, "The %s cannot be reached.", what).Because(cause)
}
