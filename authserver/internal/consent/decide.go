// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// decision is what may be allowed, and whether the person has to be asked for it.
type decision struct {
	ask.Case

	login    *store.Login
	user     *directory.User
	resource string // canonical
	scopes   []string
	before   *store.Consent // to the same client, by what it says of itself; nil: none
	ask      bool
}

// facts is what a person agrees to; a page about other facts does not count.
func (d *decision) facts() []string {
	return append([]string{"facts", d.Gateway.UID, hex.EncodeToString(d.Client.Fingerprint[:])}, d.scopes...)
}

func (d *decision) person() string {
	if d.user.DisplayName != "" {
		return d.user.DisplayName
	}
	return d.user.Name
}

// decide checks a request against the directory as it is now, or answers. decided says that the person has used the page.
func (h *Handler) decide(w http.ResponseWriter, r *http.Request, q ask.Waiting, login *store.Login, decided bool) (decision, bool) {
	view := h.cfg.View()
	if view == nil {
		h.desk.Unavailable(w, r)
		return decision{}, false
	}
	client, err := h.desk.Client(r, q.Client)
	if err != nil {
		h.desk.ClientPage(w, r, q.Client, err)
		return decision{}, false
	}
	if !client.Redirect(q.RedirectURI) { // it has changed while the person was thinking
		h.desk.FaultPage(w, r, fault.New(fault.Invalid, ask.ReasonOver, "The redirect URI is no longer the client's."))
		return decision{}, false
	}
	d := decision{Case: ask.Case{Request: q.Request, Client: client, User: login.User, Decided: decided}, login: login}
	if e := d.check(view); e != nil {
		h.desk.Refuse(w, r, d.Case, e)
		return decision{}, false
	}
	if err := h.compare(r, &d); err != nil {
		h.desk.Refuse(w, r, d.Case, oauthfault.From(err))
		return decision{}, false
	}
	return d, true
}

// check fills in user, gateway and scopes (AZ-5, AZ-7, AZ-8).
func (d *decision) check(view *directory.View) *oauthfault.Error {
	if d.user = view.User(d.login.User); d.user == nil {
		return oauthfault.New(oauthfault.AccessDenied, "The account is not active.")
	}
	if d.Request.Gateway == "" {
		all := view.GatewaysOf(d.user)
		if len(all) != 1 {
			return oauthfault.New(oauthfault.InvalidTarget, "The client names no gateway, and there is not just one to choose. It has to send the parameter resource.")
		}
		d.Gateway = all[0]
	} else if d.Gateway = view.Gateway(d.Request.Gateway); d.Gateway == nil {
		return oauthfault.New(oauthfault.InvalidTarget, "The resource is no gateway.")
	}
	if !view.MayUse(d.Gateway, d.user) {
		return oauthfault.New(oauthfault.AccessDenied, "You have no access to this gateway. Ask an administrator for it.")
	}
	d.resource = view.Resource(d.Gateway)
	var e *oauthfault.Error
	d.scopes, e = ask.Scopes(d.Request.Scopes, d.Gateway, d.Client)
	return e
}

// compare finds out whether the person has agreed before (AZ-13, CIMD-15).
func (h *Handler) compare(r *http.Request, d *decision) error {
	target := ask.TargetOf(d.Request.RedirectURI)
	before, err := h.cfg.Store.Consent(r.Context(), d.User, d.Client.ID, target.Host, d.Gateway.UID)
	switch {
	case err == nil:
		if before.Fingerprint == d.Client.Fingerprint {
			d.before = &before
		}
	case fault.KindOf(err) != fault.NotFound:
		return fmt.Errorf("read consent: %w", err)
	}
	d.ask = d.Request.Again || !d.trusted(target) && !d.repeated(target)
	return nil
}

// trusted: an administrator has agreed for all, and the answer cannot go astray on the person's computer (AZ-14).
func (d *decision) trusted(t ask.Target) bool {
	return d.Client.Trusted && (d.Client.Origin == clients.Registered || !t.Loopback && !t.App)
}

// repeated: she has agreed to as much before. For a client that registered itself and has no secret, the client_id proves
// nothing where any program of the computer can have the answer (RFC 8252 §8.6).
func (d *decision) repeated(t ask.Target) bool {
	local := t.Loopback || t.App
	if local && d.Client.Origin == clients.Dynamic && d.Client.Public() && !d.Client.Trusted {
		return false
	}
	return d.covered()
}

// covered: what she agreed to before holds all the scopes.
func (d *decision) covered() bool {
	return d.before != nil && !slices.ContainsFunc(d.scopes, func(s string) bool { return !slices.Contains(d.before.Scopes, s) })
}
