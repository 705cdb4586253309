// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"net/http"
	"sync"

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

// Resolve implements call.Credentials.
func (r router) Resolve(ctx context.Context, o *call.Outbound) (call.Credential, error) {
	found, err := r.credentials.Resolve(ctx, wanted(o))
	if err != nil {
		return call.Credential{}, err
	}
	return credentialOf(found, o), nil
}

// Holds implements dispatch.Credentials.
func (r router) Holds(o *call.Outbound) bool { return r.credentials.Holds(wanted(o)) }

// wanted says which credential a call needs.
func wanted(o *call.Outbound) credential.Wanted {
	return credential.Wanted{
		Connection: o.Connection.UID, Version: o.Server.Version(o.Connection), Principal: o.Principal, Subject: credential.Subject(o.Subject),
	}
}

func credentialOf(c *credential.Credential, o *call.Outbound) call.Credential {
	k := call.Credential{Key: c.Key, Header: c.RevealHeaders(), Env: c.Env, Serial: c.Serial}
	if o.Server.CallerOnly { // whatever the connection: nothing of it is shared (UP-9)
		k.Key += "/" + o.Principal.Key()
	}
	return k
}

// Link implements dispatch.Links.
func (r router) Link(ctx context.Context, p ident.Principal, w dispatch.Wanted) (url string, err error) {
	return r.credentials.Link(ctx, credential.LinkRequest{
		User: p.UID, Server: w.Server, Client: p.ClientID, Gateway: w.Gateway, Scope: w.Scope, Connection: w.Connection, Version: w.Version,
	})
}

// Call implements bridge.Upstream. A request whose credential the server refuses did not run: it is sent once more with one that
// was renewed (UP-8).
func (r router) Call(ctx context.Context, o *call.Outbound, sink func(call.Event) error) (call.Reply, error) {
	reply, err := r.send(ctx, o, sink)
	if !refused(err) || o.Credential.Key == "" {
		return reply, err
	}
	renewed, err := r.credentials.Refused(ctx, wanted(o), o.Credential.Serial)
	if err != nil {
		return call.Reply{}, err
	}
	again := *o
	again.Credential = credentialOf(renewed, o)
	return r.send(ctx, &again, sink)
}

func refused(err error) bool {
	return err != nil && fault.From(err).Reason == upstream.ReasonUnauthorized
}

// send makes one try.
func (r router) send(ctx context.Context, o *call.Outbound, sink func(call.Event) error) (call.Reply, error) {
	request := upstream.Request{
		Method: o.Method, Params: o.Params, ProgressToken: o.ProgressToken, ClientVersion: o.Version, Schema: o.Schema,
		LogLevel: o.Client.LogLevel, Traceparent: o.Traceparent, Tracestate: o.Tracestate, Idempotent: o.Retryable,
		Passthrough: o.Passed,
	}
	var events func(upstream.Event) error
	if sink != nil {
		events = func(e upstream.Event) error { return sink(eventOf(e)) }
	}
	var result upstream.Result
	var err error
	if o.Server.Command != "" {
		result, err = r.stdio.Call(ctx, processFor(o), request, events)
	} else {
		result, err = r.http.Call(ctx, targetFor(o), request, events)
	}
	r.note(o.Connection, err)
	if err != nil {
		return call.Reply{}, err
	}
	return call.Reply{Result: result.Raw, Error: result.Error, Version: result.Version}, nil
}

// Attach implements bridge.Upstream. Both pools may have upstreams of one session; they take turns.
func (r router) Attach(session string, reach call.Reach, sink func(connection string, e call.Event)) (detach func()) {
	var turn sync.Mutex
	one := func(connection string, e upstream.Event) {
		turn.Lock()
		defer turn.Unlock()
		sink(connection, eventOf(e))
	}
	overHTTP, processes := r.http.Attach(session, reaching(reach), one), r.stdio.Attach(session, one)
	return func() {
		overHTTP()
		processes()
	}
}

// reaching returns what a session's calls over HTTP are made with.
func reaching(reach call.Reach) upstream.Reach {
	if reach == nil {
		return nil
	}
	return func(ctx context.Context, connection string) (upstream.Target, error) {
		o, err := reach(ctx, connection)
		if err != nil {
			return upstream.Target{}, err
		}
		return targetFor(o), nil
	}
}

// Watch implements bridge.Upstream.
func (r router) Watch(ctx context.Context, o *call.Outbound, want call.Subscription, sink func(call.Event) error) error {
	wanted := upstream.Subscription{
		Tools: want.Tools, Prompts: want.Prompts, Resources: want.Resources, URIs: want.URIs, TaskIDs: want.TaskIDs,
		Established: want.Established,
	}
	events := func(e upstream.Event) error { return sink(eventOf(e)) }
	if o.Server.Command != "" {
		return r.stdio.Watch(ctx, processFor(o), wanted, events)
	}
	return r.http.Watch(ctx, targetFor(o), wanted, events)
}

// Notify implements bridge.Notifier.
func (r router) Notify(session, method string, params []byte, passed http.Header) {
	r.http.Notify(session, method, params, passed)
	r.stdio.Notify(session, method, params)
}

// EndSession implements bridge.Upstream.
func (r router) EndSession(session string) {
	r.http.EndSession(session)
	r.stdio.EndSession(session)
}

func eventOf(e upstream.Event) call.Event {
	out := call.Event{Method: e.Method, Params: e.Params, Raw: e.Raw, ID: e.ID}
	if answer := e.Answer; answer != nil { // alone: the message must not live as long as its question
		out.Answer, out.Progress = func(a call.Answer) { answer(a.Result, a.Error) }, e.Progress
	}
	return out
}

func targetFor(o *call.Outbound) upstream.Target {
	t := target(o.Server, o.Connection, o.Credential, o.Principal)
	t.Session, t.Capabilities = o.Client.Session, o.Offer
	return t
}

func processFor(o *call.Outbound) stdio.Target {
	t := process(o.Server, o.Connection, o.Credential, o.Principal)
	t.Session, t.Capabilities = o.Client.Session, o.Offer
	return t
}

// Schema returns the input schema of the tool that a call is for, asked of the server anew (bridge.Config.Schema, M-47).
// It is nil if the server has no such tool.
func (r router) Schema(ctx context.Context, o *call.Outbound) ([]byte, error) {
	var m wire.Message
	if err := wire.ScanParams(o.Params, &m); err != nil {
		return nil, err
	}
	d, err := r.http.Describe(ctx, targetFor(o))
	if err != nil {
		return nil, err
	}
	for _, tool := range d.Tools {
		fields, err := wire.Fields(nil, tool)
		if err == nil && bytes.Equal(wire.Lookup(fields, "name").Of(tool), m.P.Name.Of(o.Params)) {
			return wire.Lookup(fields, "inputSchema").Of(tool), nil
		}
	}
	return nil, nil
}

// note tells what the call says about the connection; a call that its client ended says nothing.
func (r router) note(c *view.Connection, err error) {
	switch f := fault.From(err); {
	case err == nil:
		r.checked(c.Name, "")
	case f.Reason == upstream.ReasonCircuitOpen: // the calls that opened it told why
	case f.Kind == fault.Unavailable || f.Kind == fault.Timeout || f.Reason == upstream.ReasonUnauthorized:
		r.checked(c.Name, f.Reason)
	default:
	}
}

// List implements discover.Lister.
func (r router) List(ctx context.Context, s *view.Server, c *view.Connection) (discover.Listing, error) {
	var credential call.Credential
	if c == nil {
		c = &view.Connection{Server: s.Name}
	}
	if s.NeedsSecret {
		var err error
		if credential, err = r.Resolve(ctx, &call.Outbound{Server: s, Connection: c}); err != nil {
			return discover.Listing{}, err
		}
	}
	var d upstream.Description
	var err error
	if s.Command != "" {
		t := process(s, c, credential, ident.Principal{})
		if s.Protocol == "" { // as below
			t.Version = ""
		}
		d, err = r.stdio.Describe(ctx, t)
	} else {
		t := target(s, c, credential, ident.Principal{})
		if s.Protocol == "" { // what the last discovery found may have changed, what an administrator set may not
			t.Version = ""
		}
		d, err = r.http.Describe(ctx, t)
	}
	if err != nil {
		return discover.Listing{}, err
	}
	return discover.Listing{
		Version: string(d.Version), ServerInfo: d.ServerInfo.ServerInfo, Capabilities: d.Capabilities,
		Instructions: d.Instructions, Tools: d.Tools, Prompts: d.Prompts, Resources: d.Resources, Templates: d.Templates,
		Missing: d.Missing, SSE: d.SSE,
	}, nil
}

func target(s *view.Server, c *view.Connection, k call.Credential, p ident.Principal) upstream.Target {
	return upstream.Target{
		Server: s.Name, Connection: c.Name, URL: s.URL, Version: wire.Version(s.Protocol), Header: headers(s, k), SSE: s.SSE,
		Key: keyOf(c, k), PrincipalKind: string(p.Kind), PrincipalKey: p.UID, Stateless: s.Stateless,
		CallTimeout: s.CallTimeout, MaxResponse: s.MaxResponse, MaxConcurrent: s.MaxConcurrency,
	}
}

// keyOf tells connections apart, and the credentials of one. No uid of a connection has a bar in it.
func keyOf(c *view.Connection, k call.Credential) string {
	if k.Key == "" {
		return c.UID
	}
	return c.UID + "|" + k.Key
}

// headers joins the server's fixed headers with the credential's, which win.
func headers(s *view.Server, k call.Credential) http.Header {
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

func process(s *view.Server, c *view.Connection, k call.Credential, p ident.Principal) stdio.Target {
	return stdio.Target{
		Server: s.Name, Connection: c.Name, Command: s.Command, Args: s.Args, Env: s.Env, SecretEnv: k.Env,
		Version: wire.Version(s.Protocol), Key: keyOf(c, k), PrincipalKey: p.Key(), Stateless: s.Stateless,
		CallTimeout: s.CallTimeout, MaxResponse: s.MaxResponse, MaxConcurrent: s.MaxConcurrency,
	}
}
