// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/http"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonValue: the server does not take a credential (Denied).
const ReasonValue = "CREDENTIAL_REFUSED"

// begin is how a client of the sessions' era greets a server. One that only knows later versions looks at the credential first, too.
const begin = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},` +
	`"clientInfo":{"name":"Penstock","version":"1"}}}`

// Try asks a server whether it takes the headers that a person gave for it (UP-10): at the server's own URL and nowhere else (UP-3).
// tried is false where that could not be found out: the server cannot be reached from here, or its answer says neither. The fault
// is Denied CREDENTIAL_REFUSED: it answers 401 or 403.
func (u *Upstream) Try(ctx context.Context, s *directory.Server, secret vault.Secret) (tried bool, err error) {
	at, err := url.Parse(s.URL)
	if err != nil || at.Host == "" {
		return false, nil //nolint:nilerr // a server without a URL cannot be asked
	}
	ask := u.ask()
	if ask.Egress, err = ask.Egress.Permit(at); err != nil { // an administrator registered it
		return false, nil //nolint:nilerr // nodes may reach it from where they are
	}
	header := http.Header{"Accept": {"application/json, text/event-stream"}}
	for name, value := range secret.Headers {
		header.Set(name, value.Reveal())
	}
	status, err := ask.Knock(ctx, oauthclient.TheServer, s.URL, begin, header)
	switch {
	case err != nil:
		return false, nil //nolint:nilerr // nodes may reach it from where they are
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return true, fault.Newf(fault.Denied, ReasonValue, "The server %q refuses the credential (%d).", s.Name, status)
	default:
		return status >= http.StatusOK && status < http.StatusMultipleChoices, nil
	}
}
