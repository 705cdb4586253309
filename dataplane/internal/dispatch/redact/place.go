// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"slices"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// place is what a value is to the protocol.
type place uint8

const (
	free      place = iota // anything: all names and strings are the server's
	top                    // a result
	taskState              // a task: of tasks/get, of a notification, of a result that is one
	pending                // a result of type input_required
	block                  // a content block, or a message with one
	picture                // a content block with data
	contents               // of a resource
	notes                  // annotations
	meta                   // _meta
	askedMeta              // _meta of a question
	related                // what names a task in _meta
	requests               // questions by name
	request                // one of those
	asked                  // params of a question
	schema                 // JSON Schema
	problem                // a JSON-RPC error
	message                // a notification
	progress               // params of notifications, by their methods
	logged
	updated
	completed
	cancelled
)

// relatedTask is the name in _meta of the task that a message belongs to (2025-11-25).
const relatedTask = wire.ReservedPrefix + "related-task"

// inside returns what the member of an object is, and the elements of one that is an array.
func (p place) inside(name string) place {
	switch p {
	case top, taskState, pending, block, picture, contents:
		switch name {
		case "_meta":
			return meta
		case "content", "messages":
			return block
		case "contents":
			return contents
		case "resource":
			if p == block {
				return contents
			}
		case "annotations":
			return notes
		case "inputRequests":
			return requests
		case "task", "result":
			return p.holds(name)
		case "error":
			if p == taskState {
				return problem
			}
		}
	case notes:
		if name == "audience" {
			return notes
		}
	case meta, askedMeta:
		if name == relatedTask {
			return related
		}
	case requests:
		return request
	case request:
		if name == "params" {
			return asked
		}
	case asked:
		switch name {
		case "_meta":
			return askedMeta
		case "messages":
			return block
		case "requestedSchema":
			return schema
		}
	case schema:
		return schema
	default:
	}
	return free
}

func (p place) holds(name string) place {
	switch {
	case name == "task" && p == top:
		return taskState
	case name == "result" && p == taskState:
		return top
	}
	return free
}

// params returns what the params of a notification are.
func params(method string) place {
	switch method {
	case "notifications/progress":
		return progress
	case "notifications/message":
		return logged
	case "notifications/tasks", "notifications/tasks/status":
		return taskState
	case "notifications/resources/updated":
		return updated
	case "notifications/elicitation/complete":
		return completed
	case "notifications/cancelled":
		return cancelled
	}
	return free
}

// named reports whether the protocol gives the members of an object their names, or whether they are what a client answers with.
func (p place) named(name string) bool {
	switch p {
	case free, notes, related:
		return p != free && (name == "audience" || name == "lastModified" || name == "taskId")
	case requests, schema, message:
		return true
	default:
		return slices.Contains(names(), name)
	}
}

// names are those of the protocol's members.
func names() []string {
	return []string{
		"_meta", "annotations", "cacheScope", "code", "content", "contents", "context", "createdAt", "data", "description", "elicitationId",
		"error", "icons", "includeContext", "inputRequests", "isError", "lastUpdatedAt", "level", "logger", "maxTokens", "message",
		"messages", "method", "mimeType", "mode", "modelPreferences", "name", "params", "pollInterval", "progress", "progressToken", "reason",
		"blob", "id", "input", "pollIntervalMs", "requestId", "requestState", "requestedSchema", "resource", "result", "resultType", "role",
		"size", "status", "statusMessage", "stopSequences", "structuredContent", "systemPrompt", "task", "taskId", "temperature", "text",
		"title", "toolChoice", "toolUseId", "tools", "total", "ttl", "ttlMs", "type", "uri", "url", relatedTask,
	}
}

// keeps reports whether a string stays as it is whatever it matches: it can be nothing else, or it is a handle.
func (p place) keeps(name, value string) bool {
	switch p {
	case top, pending, taskState:
		switch name {
		case "resultType":
			return oneOf(value, "complete", "input_required", "task")
		case "status":
			return p == taskState && oneOf(value, "working", "input_required", "completed", "failed", "cancelled")
		case "createdAt", "lastUpdatedAt":
			return p == taskState && isTime(value)
		case "taskId":
			return p == taskState
		case "requestState":
			return p == pending
		}
	case block, picture:
		switch name {
		case "type":
			return oneOf(value, "text", "image", "audio", "resource", "resource_link", "tool_use", "tool_result")
		case "role":
			return oneOf(value, "user", "assistant")
		case "mimeType":
			return isCommon(value)
		}
	case contents:
		return name == "mimeType" && isCommon(value)
	case notes:
		return name == "audience" && oneOf(value, "user", "assistant") || name == "lastModified" && isTime(value)
	case related:
		return name == "taskId"
	case askedMeta:
		return name == "progressToken"
	case request:
		return name == "method" && oneOf(value, "elicitation/create", "sampling/createMessage", "roots/list")
	case asked:
		switch name {
		case "mode":
			return oneOf(value, "form", "url")
		case "includeContext":
			return oneOf(value, "none", "thisServer", "allServers")
		case "elicitationId":
			return true
		}
	case schema:
		return name == "type" && oneOf(value, "object", "array", "string", "number", "integer", "boolean", "null")
	case message:
		return name == "jsonrpc" || name == "method"
	case progress:
		return name == "progressToken"
	case logged:
		return name == "level" && wire.LogLevel(value) >= 0
	case updated:
		return name == "uri"
	case completed:
		return name == "elicitationId"
	case cancelled:
		return name == "requestId"
	default:
	}
	return false
}

// isCommon reports whether a media type is one that says nothing but what it is.
func isCommon(mime string) bool {
	return oneOf(mime, "text/plain", "text/html", "text/markdown", "text/csv", "text/xml", "application/json", "application/xml",
		"application/pdf", "application/octet-stream", "image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "audio/wav",
		"audio/mpeg", "audio/ogg")
}

func oneOf(value string, words ...string) bool { return slices.Contains(words, value) }

func isTime(value string) bool {
	_, err := time.Parse(time.RFC3339Nano, value)
	return err == nil
}
