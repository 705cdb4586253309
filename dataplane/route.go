// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/discover"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch"
	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// router leads calls and discoveries to the pool that speaks the server's transport, and credentials to those who ask.
type router struct {
	http        *upstream.Pool
	stdio       *stdio.Pool
	credentials *credential.Client
	checked     func(connection, reason string) // told the outcome of each call
}

// Resolve implements dispatch.Credentials.
func (r router) Resolve(ctx context.Context, c *view.Connection, p ident.Principal) (dispatch.Credential, error) {
	found, err := r.credentials.Resolve(ctx, c.UID, c.CredentialVersion, p)
	if err != nil {
		return dispatch.Credential{}, err
	}
	return dispatch.Credential{Key: found.Key, Header: found.RevealHeaders(), Env: found.Env}, nil
}

// CallTool implements dispatch.Upstream.
func (r router) CallTool(ctx context.Context, u dispatch.UpstreamCall, sink func([]byte) error) (call.Reply, error) {
	request := upstream.Request{
		Method: "tools/call", Params: u.Params, ProgressToken: u.ProgressToken, ClientVersion: u.Version,
		Traceparent: u.Traceparent, Idempotent: u.Retryable,
	}
	events := func(e upstream.Event) error { return sink(e.Raw) }
	var result upstream.Result
	var err error
	if u.Server.Command != "" {
		result, err = r.stdio.Call(ctx, process(u.Server, u.Connection, u.Credential, u.Principal), request, events)
	} else {
		result, err = r.http.Call(ctx, target(u.Server, u.Connection, u.Credential, u.Principal), request, events)
	}
	r.note(u.Connection, err)
	if err != nil {
		return call.Reply{}, err
	}
	return call.Reply{Result: result.Raw, Error: result.Error}, nil
}

// note tells what the call says about the connection; a call that its client ended says nothing.
func (r router) note(c *view.Connection, err error) {
	switch f := fault.From(err); {
	case err == nil:
		r.checked(c.Name, "")
	case f.Kind == fault.Unavailable || f.Kind == fault.Timeout || f.Reason == upstream.ReasonUnauthorized:
		r.checked(c.Name, f.Reason)
	default:
	}
}

// List implements discover.Lister.
func (r router) List(ctx context.Context, s *view.Server, c *view.Connection) (discover.Listing, error) {
	var credential dispatch.Credential
	if c == nil {
		c = &view.Connection{Server: s.Name}
	}
	if s.NeedsSecret {
		var err error
		if credential, err = r.Resolve(ctx, c, ident.Principal{}); err != nil {
			return discover.Listing{}, err
		}
	}
	var tools [][]byte
	var info upstream.ServerInfo
	var err error
	if s.Command != "" {
		tools, info, err = r.stdio.ListTools(ctx, process(s, c, credential, ident.Principal{}))
	} else {
		t := target(s, c, credential, ident.Principal{})
		if s.Protocol == "" { // what the last discovery found may have changed, what an administrator set may not
			t.Version = ""
		}
		tools, info, err = r.http.ListTools(ctx, t)
	}
	if err != nil {
		return discover.Listing{}, err
	}
	return discover.Listing{
		Version: string(info.Version), ServerInfo: info.ServerInfo, Capabilities: info.Capabilities,
		Instructions: info.Instructions, Tools: tools,
	}, nil
}

func target(s *view.Server, c *view.Connection, k dispatch.Credential, p ident.Principal) upstream.Target {
	return upstream.Target{
		Server: s.Name, Connection: c.Name, URL: s.URL, Version: wire.Version(s.Protocol), Header: headers(s, k),
		Key: c.UID + "|" + k.Key, PrincipalKey: p.Key(), Stateless: s.Stateless,
		CallTimeout: s.CallTimeout, MaxResponse: s.MaxResponse, MaxConcurrent: s.MaxConcurrency,
	}
}

// headers joins the server's fixed headers with the credential's, which win.
func headers(s *view.Server, k dispatch.Credential) http.Header {
	if len(s.Headers) == 0 {
		return k.Header
	}
	h := make(http.Header, len(s.Headers)+len(k.Header))
	for name, value := range s.Headers {
		h.Set(name, value)
	}
	for name, values := range k.Header {
		h[name] = values
	}
	return h
}

func process(s *view.Server, c *view.Connection, k dispatch.Credential, p ident.Principal) stdio.Target {
	return stdio.Target{
		Server: s.Name, Connection: c.Name, Command: s.Command, Args: s.Args, Env: s.Env, SecretEnv: k.Env,
		Version: wire.Version(s.Protocol), Key: c.UID + "|" + k.Key, PrincipalKey: p.Key(), Stateless: s.Stateless,
		CallTimeout: s.CallTimeout, MaxResponse: s.MaxResponse, MaxConcurrent: s.MaxConcurrency,
	}
}
