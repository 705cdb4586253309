// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

const (
	// authPrefix is that of scenarios whose servers take access tokens.
	authPrefix = "auth/"
	// maxConnects is how often the person follows a link before she gives up. The suite allows three authorizations.
	maxConnects = 2
	// The server of scenarioMigration moves to another authorization server after the first good call.
	scenarioMigration = authPrefix + "authorization-server-migration"
	// The server of scenarioManaged takes what an identity provider asserts.
	scenarioManaged = authPrefix + "enterprise-managed-authorization"
)

// Protector puts servers that take access tokens behind gateways.
type Protector interface {
	Person(ctx context.Context) (gateway.Person, error)
	Protect(ctx context.Context, s gateway.Protected) (gateway.Gateway, error)
	Settle(ctx context.Context) error
}

// ends reports whether a scenario is one in which the person must not get a token: what the suite's servers say is wrong, or never
// enough.
func ends(scenario string) bool {
	switch strings.TrimPrefix(scenario, authPrefix) {
	case "resource-mismatch", "metadata-issuer-mismatch", "iss-supported-missing", "iss-wrong-issuer", "iss-unexpected", "iss-normalized",
		"scope-retry-limit":
		return true
	}
	return false
}

// protected returns how Penstock is to get tokens in a scenario, as an administrator configures it.
func protected(t task, server gateway.Server) gateway.Protected {
	p := gateway.Protected{Server: server, Credential: "{oauth: {}}", Secrets: map[string]string{"SECRET": t.Context.ClientSecret}}
	const own = "{oauth_client_credentials: {client_id: %q, client_secret: {from_env: SECRET}%s}}"
	switch strings.TrimPrefix(t.Scenario, authPrefix) {
	case "pre-registration":
		p.Credential = fmt.Sprintf("{oauth: {client_id: %q, client_secret: {from_env: SECRET}}}", t.Context.ClientID)
	case "client-credentials-basic":
		p.Shared, p.Credential = true, fmt.Sprintf(own, t.Context.ClientID, "")
	case "client-credentials-jwt":
		p.Shared, p.Credential = true, fmt.Sprintf(own, t.Context.ClientID, ", authentication: PRIVATE_KEY_JWT")
		p.Secrets["SECRET"] = t.Context.PrivateKey
	}
	return p
}

// visitor is the person in one scenario: she follows the links that her calls are answered with, and goes no way twice as often as
// it takes to see that it leads nowhere.
type visitor struct {
	site    *Site
	browser *browser
	left    int // links that she would follow
}

// errTired is that of a visitor who is asked to connect a server again and again.
var errTired = errors.New("asked to connect the server once more")

// authorized runs a scenario whose server takes access tokens.
func (s *Site) authorized(ctx context.Context, t task, server gateway.Server) error {
	p := protected(t, server)
	p.Person, p.StandIn = s.browser.who, s.url+standInPath
	v := &visitor{site: s, browser: s.browser, left: maxConnects}
	var err error
	if t.Scenario == scenarioManaged {
		if v.browser, err = s.managed(ctx, t, &p); err != nil {
			return err
		}
	}
	var g gateway.Gateway
	err = s.slot(ctx, func() (err error) {
		g, err = s.cfg.Protector.Protect(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	calls := func() error { return use(ctx, g, s.cfg.Version, t) }
	if err = v.follow(ctx, calls); err == nil && t.Scenario == scenarioMigration {
		err = v.follow(ctx, calls)
	}
	refused := new(refusedError)
	switch {
	case !ends(t.Scenario):
		return err
	case errors.As(err, &refused), errors.Is(err, errTired):
		return nil
	case err == nil:
		return errors.New("the calls went through")
	}
	return err
}

// follow makes calls until they are answered with no link any more.
func (v *visitor) follow(ctx context.Context, call func() error) error {
	for {
		err := call()
		link := v.site.link.FindString(fmt.Sprint(err))
		switch {
		case link == "":
			return err
		case v.left == 0:
			return errTired
		}
		v.left--
		if err := v.browser.connect(ctx, link); err != nil {
			return err
		}
		if err := v.site.cfg.Protector.Settle(ctx); err != nil { // people take longer
			return err
		}
	}
}

// linkTo finds links to connect a server in answers.
func linkTo(issuer string) *regexp.Regexp {
	return regexp.MustCompile(regexp.QuoteMeta(issuer) + `/connect/[A-Za-z0-9_-]{22}`)
}
