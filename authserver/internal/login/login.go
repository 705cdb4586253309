// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Paths, below the issuer's path.
const (
	PagePath     = "/login"                     // GET
	PasswordPath = "/login/password"            // POST
	ProviderPath = "/login/provider/{provider}" // POST
	CallbackPath = "/login/callback/{provider}" // GET
	LogoutPath   = "/logout"                    // POST

	providerPrefix = "/login/provider/"
	callbackPrefix = "/login/callback/"
	accountPath    = "/account"
)

// How long a login lasts without use, and in all.
const (
	IdleLife = 12 * time.Hour
	Life     = 7 * 24 * time.Hour
)

// Directory changes users.
type Directory interface {
	// LoginUser finds, links or makes the user of an account, and brings its teams in line with its groups. It returns the
	// user's uid, and the revision that has the change, 0 if there was none. A fault of kind Denied says that the account may
	// not log in; its text is for people.
	LoginUser(ctx context.Context, a directory.Account) (uid string, revision uint64, err error)
}

// Secrets opens the client secrets of identity providers; [vault.Vault] is one.
type Secrets interface {
	// Resolve returns a version of the secret that belongs to an identity provider, by uid.
	Resolve(ctx context.Context, provider, version string) (vault.Secret, error)
}

// Destinations knows what people log in for: an authorization request or a connect link.
type Destinations interface {
	// Describe returns what a waiting request is about. A fault of kind Invalid or NotFound says that the request is over or
	// never was.
	Describe(ctx context.Context, request string) (pages.Destination, error)
	// Onward returns where its person goes who is logged in now: a path with its query, below the issuer's.
	Onward(request string) string
}

// Subjects keeps what logins leave, of providers whose tokens are kept.
type Subjects interface {
	// Keep keeps the tokens of a login of a user (uid), in place of those of the last one.
	Keep(ctx context.Context, user string, idp *directory.Provider, t federation.Tokens) error
	// Wanted returns what the next login of a user is to be asked for, and whether she is to be asked anew who she is.
	Wanted(ctx context.Context, user string, idp *directory.Provider) (p federation.Proof, again bool, err error)
}

// Config is what a [Login] needs.
type Config struct {
	Issuer       string
	Store        store.OAuth
	View         func() *directory.View // nil before the first state
	Directory    Directory
	Secrets      Secrets
	Destinations Destinations
	// Subjects keeps tokens of logins; nil keeps none.
	Subjects Subjects
	// Returned answers a browser that comes back from a provider that [Login.Send] sent it to, and who it was. nil: nobody is sent.
	Returned func(w http.ResponseWriter, r *http.Request, request, user string)
	// HTTP reaches identity providers; it has the guarded dialer of kit/egress.
	HTTP *http.Client
	// Await returns when View has a revision, or with an error when it takes too long. nil: a new login may come before the
	// teams it brought.
	Await func(ctx context.Context, revision uint64) error
	// LogOut ends the logins of a user (uid) with an identity provider, by name, and the grants that rest on them, unless the
	// token that asks for it, by its jti at the provider, has done so before; it is remembered until its end.
	LogOut func(ctx context.Context, user, provider, jti string, end time.Time) error
	// LogOutSession is LogOut for the logins that came from one session at the provider, whoever's they are.
	LogOutSession func(ctx context.Context, provider, session, jti string, end time.Time) error
	// Settle is how long a user who was just made may take to appear in View; 0 means 5 s.
	Settle     time.Duration
	LocalUsers bool            // e-mail address and password are a way to log in
	Hash       password.Params // the zero value is a good one
	Log        *slog.Logger
	Now        func() time.Time // nil means time.Now
	// Delay makes those wait who guess passwords; nil counts in this process.
	Delay *limit.Delay
}

// Login is the room. Its methods are safe for concurrent use.
type Login struct {
	c      Config
	base   string // path of the issuer
	party  *federation.Party
	hasher *password.Hasher
	delay  *limit.Delay
}

// New returns the room. It reads and starts nothing.
func New(c Config) (*Login, error) {
	if c.Issuer == "" || c.Store == nil || c.View == nil || c.Directory == nil || c.Secrets == nil || c.Destinations == nil || c.LogOut == nil || c.LogOutSession == nil || c.Log == nil {
		return nil, errors.New("logins need an issuer, a store, a directory, secrets, destinations, a way to log out and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Settle == 0 {
		c.Settle = 5 * time.Second
	}
	if c.Delay == nil {
		c.Delay = limit.NewDelay(c.Now)
	}
	party, err := federation.New(federation.Config{HTTP: c.HTTP, Now: c.Now})
	if err != nil {
		return nil, err
	}
	hasher, err := password.New(c.Hash)
	if err != nil {
		return nil, err
	}
	return &Login{c: c, base: pages.Base(c.Issuer), party: party, hasher: hasher, delay: c.Delay}, nil
}

// now returns the time as the store keeps it.
func (l *Login) now() time.Time { return l.c.Now().UTC().Truncate(time.Microsecond) }

// view returns the directory, or Unavailable DIRECTORY_UNAVAILABLE before its first state.
func (l *Login) view() (*directory.View, error) {
	v := l.c.View()
	if v == nil {
		return nil, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(5 * time.Second)
	}
	return v, nil
}

// onward returns where somebody goes who is logged in now.
func (l *Login) onward(request string) string {
	if request == "" {
		return l.base + accountPath
	}
	return l.base + l.c.Destinations.Onward(request)
}

// absolute returns the URL of a path of this server.
func (l *Login) absolute(path string) string { return strings.TrimSuffix(l.c.Issuer, "/") + path }
