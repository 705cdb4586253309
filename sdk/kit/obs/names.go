// SPDX-License-Identifier: Apache-2.0

package obs

// Keys of slog attributes. Logs use these and no others, so that one query
// finds a thing in the logs of every process.
const (
	AttrGateway     = "gateway"
	AttrTool        = "tool"
	AttrServer      = "server"
	AttrConnection  = "connection"
	AttrNode        = "node"
	AttrRegion      = "region"
	AttrRevision    = "revision"
	AttrEpoch       = "epoch"
	AttrPrincipal   = "principal_hash"
	AttrRequestID   = "request_id"
	AttrFaultReason = "fault_reason"
	AttrFaultKind   = "fault_kind"
	AttrError       = "error"
	AttrMethod      = "method"
	AttrStatus      = "status"
	AttrDuration    = "duration"
	AttrAddress     = "address"
	AttrTask        = "task"
	AttrPath        = "path"
	AttrSetting     = "setting"
	AttrCount       = "count"
	AttrBytes       = "bytes"
	AttrReason      = "reason"
	AttrActor       = "actor" // principal key of who did it
	AttrAttempt     = "attempt"
	AttrService     = "service"
	AttrVersion     = "version"
	AttrRole        = "role" // of a peer: node, authserver, controlplane
	AttrTraceID     = "trace_id"
	AttrSpanID      = "span_id"
)

// Attribute names of the OpenTelemetry semantic conventions for MCP and of
// the conventions they build on (status Development; there is no current Go
// package for them).
const (
	MCPMethodName      = "mcp.method.name"      // "tools/call"
	MCPSessionID       = "mcp.session.id"       // legacy sessions only
	MCPProtocolVersion = "mcp.protocol.version" // "2025-11-25"
	MCPResourceURI     = "mcp.resource.uri"     // opt-in in span names

	GenAIToolName      = "gen_ai.tool.name"
	GenAIPromptName    = "gen_ai.prompt.name"
	GenAIOperationName = "gen_ai.operation.name" // OperationExecuteTool for tools/call, else absent

	JSONRPCRequestID       = "jsonrpc.request.id"
	JSONRPCProtocolVersion = "jsonrpc.protocol.version" // absent when "2.0"

	RPCResponseStatusCode = "rpc.response.status_code" // JSON-RPC error code as text, "-32602"
	ErrorType             = "error.type"               // JSON-RPC code as text, ErrorTypeTool, or a fault kind

	NetworkTransport       = "network.transport" // TransportTCP, TransportPipe
	NetworkProtocolName    = "network.protocol.name"
	NetworkProtocolVersion = "network.protocol.version"
	ServerAddress          = "server.address"
	ServerPort             = "server.port"
	ClientAddress          = "client.address"
	ClientPort             = "client.port"
)

// Values that the MCP semantic conventions fix.
const (
	OperationExecuteTool = "execute_tool"
	ErrorTypeTool        = "tool_error" // a CallToolResult with isError true
	ErrorTypeOther       = "_OTHER"
	TransportTCP         = "tcp"  // Streamable HTTP and SSE
	TransportPipe        = "pipe" // stdio
	ProtocolHTTP         = "http"
)

// Metric names of the MCP semantic conventions: histograms in seconds.
const (
	MetricMCPClientOperation = "mcp.client.operation.duration"
	MetricMCPServerOperation = "mcp.server.operation.duration"
	MetricMCPClientSession   = "mcp.client.session.duration"
	MetricMCPServerSession   = "mcp.server.session.duration"
)

// Attribute names of Penstock's own on spans and metrics. On metrics, gateway
// and tool are set only where configuration asks for it: their number has no
// bound.
const (
	PenstockGateway        = "penstock.gateway"
	PenstockTool           = "penstock.tool"
	PenstockServer         = "penstock.server"
	PenstockConnection     = "penstock.connection"
	PenstockRevision       = "penstock.revision"
	PenstockNode           = "penstock.node"
	PenstockRegion         = "penstock.region"
	PenstockPrincipal      = "penstock.principal_hash"
	PenstockAuthMethod     = "penstock.auth.method"
	PenstockDecision       = "penstock.policy.decision"
	PenstockFaultReason    = "penstock.fault.reason"
	PenstockCredentialMode = "penstock.credential.mode"
	PenstockOutcome        = "penstock.outcome"
	PenstockRequestID      = "penstock.request_id"
)

// Metric names of Penstock's own, penstock_<room>_<noun>_<unit> (gateway
// design G-61). An instrument is made under this name with the unit in its
// comment; the Prometheus page shows the same name.
const (
	MetricEdgeRequests        = "penstock_edge_requests_total"                // {request}
	MetricEdgeInFlight        = "penstock_edge_in_flight_requests"            // {request}
	MetricDispatchOverhead    = "penstock_dispatch_overhead_seconds"          // s: a call without its upstream and credential time
	MetricUpstreamCall        = "penstock_upstream_call_seconds"              // s
	MetricUpstreamInFlight    = "penstock_upstream_in_flight_calls"           // {call}
	MetricUpstreamPoolUsed    = "penstock_upstream_pool_used_connections"     // {connection}
	MetricUpstreamPoolLimit   = "penstock_upstream_pool_limit_connections"    // {connection}
	MetricUpstreamPoolWait    = "penstock_upstream_pool_wait_seconds"         // s
	MetricUpstreamCircuit     = "penstock_upstream_circuit"                   // {circuit}: open or half open, by server and state
	MetricStdioProcesses      = "penstock_stdio_processes"                    // {process}
	MetricStdioRestarts       = "penstock_stdio_restarts_total"               // {restart}
	MetricAuthnFailures       = "penstock_authn_failures_total"               // {failure}, by reason
	MetricSecurityEvents      = "penstock_signals_events_total"               // {event} of identity providers, by kind and outcome
	MetricProviderKeyFailures = "penstock_providers_key_failures_total"       // {failure} to renew keys, by identity provider
	MetricForwarded           = "penstock_forwarded_total"                    // {request} that another node had to answer, by reason and outcome
	MetricRateLimited         = "penstock_rate_limited_total"                 // {refusal}, by gateway and per
	MetricPolicyDecisions     = "penstock_policy_decisions_total"             // {decision}
	MetricContextUnknown      = "penstock_context_unknown_total"              // {call}, by cause away, lost
	MetricApprovals           = "penstock_approvals_total"                    // {event} of held calls, by event
	MetricCredentialLookups   = "penstock_credential_lookups_total"           // {lookup}, by outcome hit, miss, error
	MetricCredentialResolve   = "penstock_credential_resolve_seconds"         // s
	MetricSearchReranks       = "penstock_search_reranks_total"               // {search} of tools where an embeddings endpoint is set, by outcome
	MetricSearchEmbed         = "penstock_search_embed_seconds"               // s: that a search waited for the vector of its query
	MetricSearchVectors       = "penstock_search_vectors"                     // {text} of tools, by state of the vector: ready, waiting, refused
	MetricFollowRevision      = "penstock_follow_revision"                    // 1: the enforced revision
	MetricFollowLag           = "penstock_follow_lag_seconds"                 // s: from a commit to its enforcement
	MetricFollowStale         = "penstock_follow_stale_seconds"               // s: since the last news of a control plane
	MetricFollowApply         = "penstock_follow_apply_seconds"               // s
	MetricFollowRejects       = "penstock_follow_rejects_total"               // {resource}
	MetricFeedHead            = "penstock_feed_head_revision"                 // 1
	MetricDistributeStreams   = "penstock_distribute_streams"                 // {stream}
	MetricDistributeAckLag    = "penstock_distribute_ack_lag_seconds"         // s, per node
	MetricDistributeSentBytes = "penstock_distribute_sent_bytes_total"        // By
	MetricStoreTransaction    = "penstock_sqlstore_transaction_seconds"       // s
	MetricVaultOperations     = "penstock_vault_operations_total"             // {operation}
	MetricRouterRequests      = "penstock_router_requests_total"              // {request}, by route and status
	MetricRouterDuration      = "penstock_router_request_seconds"             // s, by route
	MetricAuditDropped        = "penstock_audit_dropped_total"                // {event} that was not recorded because the queue was full
	MetricAuditQueue          = "penstock_audit_queue_bytes"                  // By: events that the control plane has not
	MetricCertificateExpiry   = "penstock_tlsx_certificate_not_after_seconds" // s since 1970
)
