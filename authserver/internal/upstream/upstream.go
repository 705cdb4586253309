// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Paths, below the issuer's path.
const (
	DocumentPath = "/upstream/client.json"       // GET: the client metadata document of Penstock as a client
	CallbackPath = "/upstream/callback/{server}" // GET: where authorization servers answer, each server at its own

	callbackPrefix = "/upstream/callback/"
)

// Reasons of the faults of this package. Where no kind is named it is Precondition: somebody has to mend something, as the text
// says.
const (
	// ReasonDead: the grant has ended or no longer fits its server; its person connects anew.
	ReasonDead = "CREDENTIAL_DEAD"
	// ReasonMetadata: a metadata document is missing or cannot be used.
	ReasonMetadata = oauthclient.ReasonMetadata
	// ReasonIssuer: a document or an answer is another issuer's (RFC 8414 §3.3, RFC 9207 §2.4).
	ReasonIssuer = oauthclient.ReasonIssuer
	// ReasonResource: the resource metadata are those of another server (RFC 9728 §3.3).
	ReasonResource = oauthclient.ReasonResource
	// ReasonInsecure: an endpoint is not protected by TLS.
	ReasonInsecure = oauthclient.ReasonInsecure
	// ReasonPKCE: the authorization server does not take S256.
	ReasonPKCE = "UPSTREAM_PKCE_MISSING"
	// ReasonClient: Penstock has no client at the authorization server, and gets none by itself, or it is refused.
	ReasonClient = oauthclient.ReasonClient
	// ReasonRefused: the authorization server answered with an error (Denied): the person or the server said no.
	ReasonRefused = "UPSTREAM_REFUSED"
	// ReasonResponse: an answer that breaks the protocol.
	ReasonResponse = oauthclient.ReasonResponse
	// ReasonUnreachable: no answer, or one of a server in trouble (Unavailable).
	ReasonUnreachable = oauthclient.ReasonUnreachable
	// ReasonNoRevocation: the authorization server has no place to revoke grants at, or none is known.
	ReasonNoRevocation = "UPSTREAM_NO_REVOCATION"
	// ReasonBusy: another authserver renews the grant and takes long (Unavailable).
	ReasonBusy = "UPSTREAM_BUSY"
	// ReasonNoDirectory: nothing was heard of a control plane yet (Unavailable).
	ReasonNoDirectory = "DIRECTORY_UNAVAILABLE"
)

// Vault keeps grants and what registrations gave; [vault.Vault] is one.
type Vault interface {
	Resolve(ctx context.Context, connection, version string) (vault.Secret, error)
	Hold(ctx context.Context, connection, version string) (vault.Held, error)
	Lease(ctx context.Context, h vault.Held, until time.Time) (bool, error)
	EndLease(ctx context.Context, h vault.Held) error
	Replace(ctx context.Context, h vault.Held, s vault.Secret) (bool, error)
	PutOnce(ctx context.Context, connection, version string, s vault.Secret) (bool, error)
	Delete(ctx context.Context, connection string) (int, error)
	Versions(ctx context.Context, connection string) ([]vault.Held, error)
	Due(ctx context.Context, prefix string, limit int) ([]vault.Held, error)
}

// Config is what an [Upstream] needs. Now may be nil, which means time.Now.
type Config struct {
	Issuer string
	View   func() *directory.View // nil before the first state
	Vault  Vault
	Audit  store.OAuth
	Egress egress.Policy // of everything but a registered server's own host (CIMD-5)
	Log    *slog.Logger
	Now    func() time.Time
}

// Upstream is the client. It is safe for concurrent use.
type Upstream struct {
	c        Config
	issuer   string // without a slash at its end
	renewed  singleflight.Group
	services services      // tokens of clients of its own
	ended    chan struct{} // holds one signal while there may be something to revoke
}

// New returns a client. It reads and starts nothing.
func New(c Config) (*Upstream, error) {
	if c.Issuer == "" || c.View == nil || c.Vault == nil || c.Audit == nil || c.Log == nil {
		return nil, errors.New("an upstream client needs an issuer, a directory, a vault, an audit log and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Upstream{c: c, issuer: strings.TrimSuffix(c.Issuer, "/"), ended: make(chan struct{}, 1)}, nil
}

// redirectURI returns where the answers about a server come to: one of its own, so that no authorization server can pass its
// answer off as another's (UP-4).
func (u *Upstream) redirectURI(server string) string { return u.issuer + callbackPrefix + server }

func refuse(reason, text string, args ...any) *fault.Fault {
	return fault.Newf(fault.Precondition, reason, text, args...)
}

// ask returns what asks authorization servers for the grants of people.
func (u *Upstream) ask() oauthclient.Requester {
	return oauthclient.Requester{
		Egress: u.c.Egress, Now: u.c.Now,
		Settings: oauthclient.Settings{Issuer: "oauth.issuer", Endpoints: "oauth.authorization_endpoint and oauth.token_endpoint"},
	}
}
