// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// identify sends a person to the identity provider whose account Penstock acts with at the server: after it is known that the link
// is hers (EL-6), and after she has been told so.
func (h *Handler) identify(w http.ResponseWriter, r *http.Request, v visit) {
	if _, err := provider(v); err != nil {
		h.refused(w, r, v, err)
		return
	}
	h.c.Logins.Send(w, r, v.server.Provider(), v.id, v.user.UID)
}

// Returned answers a browser that comes back from an identity provider, with the link that it was sent for and who logged in there
// (uid). The caller has checked that this browser was sent, and comes back once.
func (h *Handler) Returned(w http.ResponseWriter, r *http.Request, link, user string) {
	v := visit{id: link, view: h.c.View()}
	if v.view == nil {
		h.failed(w, r, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(5*time.Second))
		return
	}
	var err error
	if v.link, err = h.find(r.Context(), v.id); err != nil {
		h.lost(w, r, err)
		return
	}
	if !h.may(w, r, &v, user) {
		return
	}
	if v.server.Provider() == "" { // its kind of credential was changed meanwhile
		h.lost(w, r, over())
		return
	}
	if err := h.agree(r.Context(), v); err != nil {
		h.refused(w, r, v, err)
		return
	}
	h.connected(w, r, v)
}

// provider returns the identity provider of a link's server.
func provider(v visit) (*directory.Provider, error) {
	p := v.view.Provider(v.server.Provider())
	if p == nil {
		return nil, fault.Newf(fault.Precondition, ReasonProvider,
			"The identity provider %q, which the credential of the server %q is made of, is not there or is disabled.", v.server.Provider(), v.server.Name)
	}
	return p, nil
}

// agree uses a link up whose person has logged in, once there is what calls need of the login, and makes her connection. It holds no
// secret. What comes to nothing leaves the link open.
func (h *Handler) agree(ctx context.Context, v visit) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completeTimeout)
	defer cancel()
	p, err := provider(v)
	if err != nil {
		return err
	}
	if err := h.c.Subjects.Held(ctx, v.link.User, p, v.server); err != nil {
		return fmt.Errorf("look for what a login left: %w", err)
	}
	if err := h.use(ctx, v.link); err != nil {
		return err
	}
	_, err = h.c.Installer.ConnectServer(ctx, directory.Installation{User: v.link.User, Server: v.link.Server})
	// Who may not install the server may still call it, with a connection of a team's or the organisation's: whichever it is, calls
	// run with what the login left (G-12).
	if err != nil && (fault.From(err).Reason != directory.ReasonConnectNotAllowed || !v.view.Shared(v.server.Name)) {
		h.reopen(ctx, v.link)
		return fmt.Errorf("make a connection: %w", err)
	}
	if err := h.record(ctx, event(ctx, v.link, actionDone, resultOK, v.link.User)); err != nil {
		h.c.Log.ErrorContext(ctx, "connected server not recorded", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID), obs.Fault(err))
	}
	return nil
}
