// SPDX-License-Identifier: Apache-2.0

package register

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// Prefix is what the client_id of a client begins with that registered itself: no name of an administrator's client and no
// URL does (REG-11).
const Prefix = "dcr_"

// Bounds of a registration (REG-2, REG-8).
const (
	maxBody      = 64 << 10
	maxRedirects = 10
)

// Mode is who may register (REG-1).
type Mode string

// The modes.
const (
	Open         Mode = "open"
	InitialToken Mode = "initial_access_token" // who has a token that the operator gave out
	AllowListed  Mode = "allow_listed"         // redirect URIs on loopback, of known vendors and of listed hosts only
	Off          Mode = "off"
)

// Limiter counts events against limits. Allow takes one of a key in a bucket; if none is left, it returns how long to wait.
type Limiter interface {
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what a [Handler] needs.
type Config struct {
	Store   store.OAuth
	Limiter Limiter
	Mode    Mode
	// InitialTokens are the SHA-256 of the initial access tokens, for InitialToken.
	InitialTokens [][32]byte
	// Hosts are the hosts of https redirect URIs that AllowListed takes in addition: "chat.example", or with a port.
	Hosts []string
	// Confidential lets clients have a client_secret (REG-5).
	Confidential bool
	Redirects    redirect.Rules
	// Scopes returns all scopes that there are.
	Scopes func() []string
	// Egress judges the jwks_uri of a client; nothing is fetched here.
	Egress egress.Policy
	// TTL is how long a client lives after its last use; UnusedTTL how long one that was never used does, TTL if zero.
	TTL, UnusedTTL time.Duration
	// MaxUnused bounds the clients that were never used, those of everybody (REG-9).
	MaxUnused int
	Now       func() time.Time
	Logger    *slog.Logger
}

func (c Config) validate() error {
	switch {
	case c.Store == nil || c.Limiter == nil || c.Scopes == nil || c.Now == nil || c.Logger == nil:
		return errors.New("registration needs a store, a limiter, scopes, a clock and a logger")
	case !slices.Contains([]Mode{Open, InitialToken, AllowListed, Off}, c.Mode):
		return fmt.Errorf("unknown mode of registration %q", c.Mode)
	case c.Mode == InitialToken && len(c.InitialTokens) == 0:
		return errors.New("registration with an initial access token has no such token")
	case c.TTL <= 0 || c.UnusedTTL < 0 || c.MaxUnused <= 0:
		return errors.New("the life or the number of registered clients is not positive")
	default:
		return nil
	}
}

// vendors is the https callbacks of known clients (auth.md §1). An entry that ends with a slash is a prefix of one segment.
func vendors() []string {
	return []string{
		"https://claude.ai/api/mcp/auth_callback",
		"https://claude.com/api/mcp/auth_callback",
		"https://chatgpt.com/connector_platform_oauth_redirect",
		"https://chatgpt.com/connector/oauth/",
		"https://vscode.dev/redirect",
		"https://insiders.vscode.dev/redirect",
		"https://www.cursor.com/agents/mcp/oauth/callback",
	}
}

// listed reports whether AllowListed takes an https redirect URI, and returns its host.
func (c Config) listed(uri string) (host string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	if redirect.IsLoopback(uri) {
		return u.Host, true
	}
	for _, v := range vendors() {
		rest, found := strings.CutPrefix(uri, v)
		if found && (rest == "" || strings.HasSuffix(v, "/") && !strings.ContainsAny(rest, "/?%")) {
			return u.Host, true
		}
	}
	name := strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	return u.Host, slices.ContainsFunc(c.Hosts, func(h string) bool { return strings.TrimSuffix(strings.ToLower(h), ":443") == name })
}
