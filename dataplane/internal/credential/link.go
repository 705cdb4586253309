// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"fmt"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
)

// LinkRequest is who is to connect what, and from where the call came.
type LinkRequest struct {
	User    string // uid
	Server  string // name
	Client  string // client_id that the call came from; empty: none
	Gateway string // name
	Scope   string // scopes that the server wants besides, with a space between; empty: none
}

// linkFlight is one question for a link, and all who wait for the answer.
type linkFlight struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the fields below are final

	url string
	err error
}

// Link returns a link under which a person connects a server (auth.md §11). Calls that ask for the same at the same time get the
// same.
//
// The faults are Exhausted TOO_MANY_CONNECT_LINKS, Precondition if the authserver has no page for that server, and Unavailable
// as those of [Client.Resolve].
func (c *Client) Link(ctx context.Context, r LinkRequest) (url string, err error) {
	f := c.link(ctx, r)
	select {
	case <-f.done:
		return f.url, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a link to connect %s: %w", r.Server, context.Cause(ctx))
	}
}

// link returns the flight that asks for a link. It is detached from the call that asked first: others wait for it, too.
func (c *Client) link(ctx context.Context, k LinkRequest) *linkFlight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.links[k]; f != nil {
		return f
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	f := &linkFlight{cancel: cancel, done: make(chan struct{})}
	if c.ended {
		cancel()
		f.err = unavailable(errors.New("the node is stopping"))
		close(f.done)
		return f
	}
	c.links[k] = f
	c.fetches.Go(func() {
		defer cancel()
		r, err := c.remote.CreateConnectLink(ctx, &credentialv1.CreateConnectLinkRequest{
			UserUid: k.User, Server: k.Server, ClientId: k.Client, Gateway: k.Gateway, Scope: k.Scope,
		})
		switch {
		case err != nil:
			f.err = toFault(err)
		case r.GetUrl() == "":
			f.err = unavailable(errors.New("the answer has no link"))
		default:
			f.url = r.GetUrl()
		}
		c.mu.Lock()
		delete(c.links, k)
		c.mu.Unlock()
		close(f.done)
	})
	return f
}
