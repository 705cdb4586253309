// SPDX-License-Identifier: Apache-2.0

// Package valid checks a modern request: what it must carry in _meta and in headers, and that the headers say what the
// body says, because a request that a proxy let pass by its header must not run as another (mcp.md M-23 to M-25).
//
// edge uses it. It must never know who is calling, and it answers nothing.
package valid

import (
	"errors"
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/edge/capability"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
)

// Canonical names of the headers that repeat a part of the body.
const (
	headerVersion = "Mcp-Protocol-Version"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
)

// Checker checks requests. The zero value is ready and safe for concurrent use.
type Checker struct {
	annotated headerschema.Cache[view.Tool]
}

// Request is a modern request whose envelope is in order.
type Request struct {
	Header   http.Header
	Body     []byte
	Message  *wire.Message // scan of Body
	Method   string
	Snapshot *view.Snapshot
	Gateway  *view.Gateway
}

// Check is M-23 from _meta on, in its order: the first failure is the error, a fault of rpcerror. It returns what the
// method is at the gateway.
func (c *Checker) Check(r *Request) (method.Method, error) {
	meta := &r.Message.Meta
	v, ok := r.version()
	switch {
	case !ok:
		return method.Method{}, rpcerror.MetaRequired("params._meta must hold " + wire.MetaProtocolVersion + ", a string")
	case !is(r.Header[headerVersion], v):
		return method.Method{}, rpcerror.HeaderMismatch("MCP-Protocol-Version does not match the body")
	case wire.Version(v).Era() != wire.Modern:
		return method.Method{}, rpcerror.BadVersion(v)
	case !wire.IsObject(meta.ClientCapabilities.Of(r.Body)):
		return method.Method{}, rpcerror.MetaRequired("params._meta must hold " + wire.MetaClientCapabilities + ", an object")
	}
	if err := capability.Check(meta.ClientCapabilities.Of(r.Body)); err != nil {
		return method.Method{}, err //nolint:wrapcheck // a fault of the envelope
	}
	if !r.namesMethod() {
		return method.Method{}, rpcerror.HeaderMismatch("Mcp-Method does not match the body")
	}
	m := method.Find(r.Method, wire.Latest, r.Gateway)
	if m.Action == method.Unknown {
		return m, rpcerror.MethodNotFound()
	}
	if err := c.mirrored(r, m); err != nil {
		return m, err
	}
	if raw := meta.LogLevel.Of(r.Body); raw != nil && !IsLogLevel(raw) {
		return m, rpcerror.InvalidParams(wire.MetaLogLevel + " is no log level")
	}
	if m.Extension != "" && !capability.Extension(meta.ClientCapabilities.Of(r.Body), m.Extension) {
		return m, rpcerror.MissingExtension(m.Extension)
	}
	return m, method.CheckRetry(&r.Message.P, r.Body)
}

// version returns the version that _meta names, without allocating if it is the one that is served.
func (r *Request) version() (string, bool) {
	raw := r.Message.Meta.ProtocolVersion.Of(r.Body)
	if wire.EqualString(raw, string(wire.Latest)) {
		return string(wire.Latest), true
	}
	return wire.DecodeString(raw)
}

// namesMethod reports whether Mcp-Method says what the body says. Nobody needs to encode the name of a method, but may.
func (r *Request) namesMethod() bool {
	values := r.Header[headerMethod]
	return is(values, r.Method) || mirror.Value(values, r.Message.Method.Of(r.Body)) == nil
}

func is(values []string, want string) bool { return len(values) == 1 && values[0] == want }

// mirrored compares Mcp-Name with what the method names (M-24) and, for a tool, Mcp-Param-* with its arguments (M-25).
func (c *Checker) mirrored(r *Request, m method.Method) error {
	p := &r.Message.P
	var named []byte
	switch {
	case m.Needs&method.Name != 0:
		named = p.Name.Of(r.Body)
	case m.Needs&method.URI != 0:
		named = p.URI.Of(r.Body)
	case m.Needs&method.Task != 0:
		named = p.TaskID.Of(r.Body)
	default:
		return nil
	}
	if err := mirror.Value(r.Header[headerName], named); err != nil {
		return rpcerror.HeaderMismatch("Mcp-Name does not match the body: " + err.Error())
	}
	if r.Method != method.CallTool {
		return nil
	}
	name, _ := mirror.Text(r.Header[headerName], named)
	t := r.Snapshot.Tool(r.Gateway, name)
	if t == nil {
		return nil // dispatch says so
	}
	annotated, err := c.annotated.Of(t, t.Body.Bytes)
	if err != nil {
		return nil //nolint:nilerr // such a tool is not offered (M-64): there is nothing to compare with
	}
	err = mirror.Params(r.Header, annotated, p.Arguments.Of(r.Body))
	if errors.Is(err, mirror.ErrTwice) {
		return rpcerror.InvalidRequest(err.Error())
	}
	if err != nil {
		return rpcerror.HeaderMismatch(err.Error())
	}
	return nil
}

// IsLogLevel reports whether raw is the JSON string of a log level.
func IsLogLevel(raw []byte) bool {
	level, ok := wire.DecodeString(raw)
	return ok && wire.LogLevel(level) >= 0
}
