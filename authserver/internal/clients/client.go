// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
)

// Origin says how a client came to be known.
type Origin uint8

// The origins.
const (
	Registered Origin = iota + 1 // by an administrator
	Metadata                     // its client_id is the URL of a document (CIMD)
	Dynamic                      // by itself (DCR)
)

// Reasons of the faults with which a client is not found. All are for a page or for invalid_client; none of their texts
// holds what a fetched document said.
const (
	ReasonUnknown     = "CLIENT_UNKNOWN"       // NotFound: nobody has registered it, or its registration is over (REG-15)
	ReasonRefused     = cimd.ReasonRefused     // Denied: the deployment does not trust it (CIMD-13), or it is disabled
	ReasonDocument    = cimd.ReasonDocument    // Invalid: its document cannot be had or used (CIMD)
	ReasonFetchBudget = cimd.ReasonFetchBudget // Exhausted: too many fetches of such documents (CIMD-8)
	ReasonUnready     = "CLIENTS_UNREADY"      // Unavailable: the registered clients are not known yet
)

// Client is an OAuth client. It is immutable.
type Client struct {
	ID           string
	Origin       Origin
	Name         string // as it calls itself: untrusted, at most 256 printable characters (REG-12)
	Host         string // of the client_id, of a Metadata client; what a person can trust
	RedirectURIs []string
	Grants       []string // grant types it may use
	Scopes       []string // that it may have; empty means any
	Method       directory.ClientMethod
	JWKS         []byte
	JWKSURI      string
	SecretSHA256 [][32]byte
	Credentials  *directory.Credentials // nil: no client credentials grant
	Trusted      bool                   // by an administrator: needs no consent
	Fingerprint  [32]byte               // of all that a person agreed to (CIMD-15)

	used time.Time // last use of a Dynamic client, zero if there was none
}

// Public reports whether the client has nothing to authenticate with.
func (c *Client) Public() bool { return c.Method == directory.MethodNone }

// Asserts reports whether the client may redeem identity assertions (ID-JAG). Whether its document says so is no matter: in each
// assertion the identity provider names the client that may. It knows no client that registered itself (EMA §5).
func (c *Client) Asserts() bool { return c.Origin != Dynamic }

// Title returns the name, or the client_id where there is none.
func (c *Client) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// Redirect reports whether the redirect URI of a request is one of the client's (AZ-2): one of RedirectURIs byte for byte
// or, for a public client, an http URI on loopback that differs in its port alone. The answer goes to the requested URI.
func (c *Client) Redirect(requested string) bool {
	return redirect.Match(c.RedirectURIs, requested, c.Public())
}
