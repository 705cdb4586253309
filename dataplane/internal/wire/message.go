// SPDX-License-Identifier: Apache-2.0

package wire

// Span is the byte range [Start, End) of one JSON value, string quotes
// included. The zero Span means "absent": no JSON value is empty.
type Span struct{ Start, End int }

// Present reports whether the value was there.
func (s Span) Present() bool { return s.End > s.Start }

// Of returns the value's bytes inside b, the very slice that was scanned; nil
// if the value was absent. The result aliases b.
func (s Span) Of(b []byte) []byte {
	if !s.Present() {
		return nil
	}
	return b[s.Start:s.End:s.End]
}

// Member is one name/value pair of an object: the range of its value, and the
// offset of the opening quote of its key, which edits need.
type Member struct {
	Key int
	Span
}

// Kind tells the four JSON-RPC messages apart.
type Kind uint8

const (
	// Invalid is the kind of a message that could not be classified.
	Invalid Kind = iota
	// Request has a method and an id.
	Request
	// Notification has a method and no id.
	Notification
	// Response has a result and an id.
	Response
	// ErrorResponse has an error; its id may be absent or null.
	ErrorResponse
)

// Message is the result of one scan: where the members that a node reads lie
// in the scanned bytes. Nothing is copied or decoded, so all Spans are valid
// only together with those bytes. A Message can be reused; Scan resets it.
type Message struct {
	Kind Kind
	// Body is the whole object without surrounding white space.
	Body Span

	ID, Method, Params, Result, Error Member
	jsonrpc                           Member

	// P holds members of params, R of result, E of error. Meta holds members
	// of the _meta object of params or of result; a message has only one.
	P    Params
	R    Result
	E    ErrorObject
	Meta Meta
}

// Params are the members of params that some method gives a meaning.
type Params struct {
	Name, URI, Ref, Cursor, TaskID, Meta    Member
	Arguments, RequestState, InputResponses Member
	Argument                                Member // of completion/complete
	Level, ProgressToken, RequestID         Member
	// RefType, RefName and RefURI are members of ref (completion/complete).
	RefType, RefName, RefURI Member
	// ProtocolVersion, Capabilities and ClientInfo belong to initialize.
	ProtocolVersion, Capabilities, ClientInfo Member
}

// Meta are the members of _meta that the node reads.
type Meta struct {
	ProtocolVersion, ClientInfo, ClientCapabilities, LogLevel Member
	ServerInfo, ProgressToken, Traceparent                    Member
	Tracestate, Baggage                                       Member
	Context                                                   Member // of the gateway's own (G-33)
	// Reserved counts keys that start with "io.modelcontextprotocol/", Own
	// those that start with "io.penstock/".
	Reserved, Own int
}

// Result are the members of a result that the node reads.
type Result struct {
	ResultType, Meta, TTLMs, CacheScope    Member
	Tools, NextCursor                      Member
	Content, StructuredContent, IsError    Member
	ProtocolVersion, Capabilities          Member
	ServerInfo, Instructions               Member
	SupportedVersions, InputRequests, Task Member
	RequestState                           Member
	// PenstockError is the member penstock_error of structuredContent (G-13).
	PenstockError Member
}

// ErrorObject are the members of a JSON-RPC error object.
type ErrorObject struct{ Code, Message, Data Member }

// Keys of _meta with a meaning of their own.
const (
	ReservedPrefix         = "io.modelcontextprotocol/"
	OwnPrefix              = "io.penstock/"
	MetaContext            = OwnPrefix + "context"
	MetaProtocolVersion    = ReservedPrefix + "protocolVersion"
	MetaClientInfo         = ReservedPrefix + "clientInfo"
	MetaClientCapabilities = ReservedPrefix + "clientCapabilities"
	MetaLogLevel           = ReservedPrefix + "logLevel"
	MetaServerInfo         = ReservedPrefix + "serverInfo"
	MetaSubscriptionID     = ReservedPrefix + "subscriptionId"
	// PenstockErrorKey is the member of structuredContent that only a node
	// may set (G-13).
	PenstockErrorKey = "penstock_error"
)

// frame names the objects of which a scan reads members.
type frame uint8

const (
	inMessage frame = iota
	inParams
	inMeta
	inRef
	inResult
	inStructured
	inError
)

// slot returns where a member of an object is noted, nil for members that the
// node does not read.
func (m *Message) slot(f frame, key []byte) *Member {
	switch f {
	case inMessage:
		return m.topSlot(key)
	case inParams:
		return m.P.slot(key)
	case inMeta:
		return m.Meta.slot(key)
	case inRef:
		return m.P.refSlot(key)
	case inResult:
		return m.R.slot(key)
	case inStructured:
		if string(key) == PenstockErrorKey {
			return &m.R.PenstockError
		}
	case inError:
		return m.E.slot(key)
	}
	return nil
}

func (m *Message) topSlot(key []byte) *Member {
	switch string(key) {
	case "jsonrpc":
		return &m.jsonrpc
	case "id":
		return &m.ID
	case "method":
		return &m.Method
	case "params":
		return &m.Params
	case "result":
		return &m.Result
	case "error":
		return &m.Error
	}
	return nil
}

func (p *Params) slot(key []byte) *Member {
	switch string(key) {
	case "name":
		return &p.Name
	case "arguments":
		return &p.Arguments
	case "argument":
		return &p.Argument
	case "_meta":
		return &p.Meta
	case "uri":
		return &p.URI
	case "ref":
		return &p.Ref
	case "cursor":
		return &p.Cursor
	case "taskId":
		return &p.TaskID
	case "requestState":
		return &p.RequestState
	case "inputResponses":
		return &p.InputResponses
	case "level":
		return &p.Level
	case "progressToken":
		return &p.ProgressToken
	case "requestId":
		return &p.RequestID
	case "protocolVersion":
		return &p.ProtocolVersion
	case "capabilities":
		return &p.Capabilities
	case "clientInfo":
		return &p.ClientInfo
	}
	return nil
}

func (p *Params) refSlot(key []byte) *Member {
	switch string(key) {
	case "type":
		return &p.RefType
	case "name":
		return &p.RefName
	case "uri":
		return &p.RefURI
	}
	return nil
}

func (t *Meta) slot(key []byte) *Member {
	switch string(key) {
	case "progressToken":
		return &t.ProgressToken
	case MetaProtocolVersion:
		return &t.ProtocolVersion
	case MetaClientInfo:
		return &t.ClientInfo
	case MetaClientCapabilities:
		return &t.ClientCapabilities
	case MetaLogLevel:
		return &t.LogLevel
	case MetaServerInfo:
		return &t.ServerInfo
	case "traceparent":
		return &t.Traceparent
	case "tracestate":
		return &t.Tracestate
	case "baggage":
		return &t.Baggage
	case MetaContext:
		return &t.Context
	}
	return nil
}

func (r *Result) slot(key []byte) *Member {
	switch string(key) {
	case "content":
		return &r.Content
	case "structuredContent":
		return &r.StructuredContent
	case "isError":
		return &r.IsError
	case "_meta":
		return &r.Meta
	case "resultType":
		return &r.ResultType
	case "ttlMs":
		return &r.TTLMs
	case "cacheScope":
		return &r.CacheScope
	case "tools":
		return &r.Tools
	case "nextCursor":
		return &r.NextCursor
	case "protocolVersion":
		return &r.ProtocolVersion
	case "capabilities":
		return &r.Capabilities
	case "serverInfo":
		return &r.ServerInfo
	case "instructions":
		return &r.Instructions
	case "supportedVersions":
		return &r.SupportedVersions
	case "inputRequests":
		return &r.InputRequests
	case "requestState":
		return &r.RequestState
	case "task":
		return &r.Task
	}
	return nil
}

func (e *ErrorObject) slot(key []byte) *Member {
	switch string(key) {
	case "code":
		return &e.Code
	case "message":
		return &e.Message
	case "data":
		return &e.Data
	}
	return nil
}
