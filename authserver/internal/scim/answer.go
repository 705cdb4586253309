// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// The URNs of RFC 7643 §10.3 and RFC 7644 §8.2.
const (
	schemaUser  = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaGroup = "urn:ietf:params:scim:schemas:core:2.0:Group"
	schemaError = "urn:ietf:params:scim:api:messages:2.0:Error"
	schemaList  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
)

// The values of scimType that are used (RFC 7644 §3.12, table 9).
const (
	invalidFilter = "invalidFilter"
	invalidPath   = "invalidPath"
	invalidSyntax = "invalidSyntax"
	invalidValue  = "invalidValue"
	mutability    = "mutability"
	noTarget      = "noTarget"
	uniqueness    = "uniqueness"
)

// problem is an error as the identity provider gets it.
type problem struct {
	status   int
	scimType string
	detail   string
	reason   string // of the audit
	retry    time.Duration
}

// Error implements error.
func (p *problem) Error() string { return strconv.Itoa(p.status) + " " + p.scimType + ": " + p.detail }

// bad is a mistake in a request.
func bad(scimType, detail string) error {
	return &problem{status: http.StatusBadRequest, scimType: scimType, detail: detail}
}

// problemOf returns what is told of an error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return &problem{status: http.StatusRequestEntityTooLarge, detail: "The body is longer than " + strconv.Itoa(maxBody>>20) + " MiB."}
	}
	f := fault.From(err)
	p := &problem{detail: f.Public, reason: f.Reason, retry: f.Retry}
	switch f.Kind {
	case fault.Invalid:
		p.status, p.scimType = http.StatusBadRequest, invalidValue
	case fault.NotFound:
		p.status, p.detail = http.StatusNotFound, "The identity provider has no such resource."
	case fault.AlreadyExists:
		p.status, p.scimType = http.StatusConflict, uniqueness
	case fault.Conflict:
		p.status = http.StatusPreconditionFailed
	case fault.Denied, fault.Precondition:
		p.status = http.StatusForbidden
	case fault.Exhausted:
		p.status = http.StatusTooManyRequests
	case fault.Unavailable, fault.Timeout:
		p.status, p.retry = http.StatusServiceUnavailable, max(f.Retry, time.Second)
	default:
		p.status, p.detail = http.StatusInternalServerError, "An internal error occurred."
	}
	return p
}

// fail answers with an error (RFC 7644 §3.12).
func (h *Handler) fail(c *call, err error) {
	p := problemOf(err)
	switch {
	case p.status >= http.StatusInternalServerError && p.status != http.StatusNotImplemented:
		if c.ctx.Err() != nil {
			return
		}
		h.c.Log.ErrorContext(c.ctx, "provisioning failed", slog.String(obs.AttrRequestID, reqctx.From(c.ctx).ID), obs.Fault(err))
		p.detail += " Request " + reqctx.From(c.ctx).ID + "."
	case p.reason != "" && c.provider != nil && p.status != http.StatusNotFound:
		h.record(c, "refused", "", p.reason)
	}
	if p.retry > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int((p.retry+time.Second-1)/time.Second)))
	}
	if p.status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="penstock-scim"`)
	}
	body := object{"schemas": []string{schemaError}, "status": strconv.Itoa(p.status), "detail": p.detail}
	if p.scimType != "" {
		body["scimType"] = p.scimType
	}
	c.answer(p.status, body)
}

// answer writes a resource or a message.
func (c *call) answer(status int, body object) {
	if meta, ok := body["meta"].(object); ok {
		if at, ok := meta["location"].(string); ok && status == http.StatusCreated {
			c.w.Header().Set("Location", at)
		}
		if version, ok := meta["version"].(string); ok {
			c.w.Header().Set("ETag", version)
		}
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(c.project(body)) // the client has gone: nobody is left to tell
}

// project leaves of a resource what the query asks for (RFC 7644 §3.9), attribute by attribute of the first level; schemas
// and id are always there.
func (c *call) project(body object) object {
	if body["id"] == nil {
		return body
	}
	q := c.r.URL.Query()
	wanted, unwanted := names(q.Get("attributes")), names(q.Get("excludedAttributes"))
	out := make(object, len(body))
	for name, value := range body {
		low := strings.ToLower(name)
		if low == "schemas" || low == "id" || (len(wanted) == 0 || wanted[low]) && !unwanted[low] {
			out[name] = value
		}
	}
	return out
}

// names reads a list of attributes, as lower-case names of the first level.
func names(list string) map[string]bool {
	out := make(map[string]bool)
	for one := range strings.SplitSeq(list, ",") {
		if attr, _, ok := attribute(strings.TrimSpace(one)); ok {
			out[attr] = true
		}
	}
	return out
}

// list answers with a page (RFC 7644 §3.4.2).
func (c *call) list(page []object, total, start int) {
	resources := make([]object, 0, len(page))
	for _, one := range page {
		resources = append(resources, c.project(one))
	}
	c.answer(http.StatusOK, object{
		"schemas": []string{schemaList}, "totalResults": total, "startIndex": start, "itemsPerPage": len(page), "Resources": resources,
	})
}

// version is the weak entity tag of a stored state.
func version(etag string) string { return `W/"` + etag + `"` }

// match returns the etag that a request insists on (RFC 7644 §3.14), empty if it does not.
func (c *call) match() string {
	value := strings.TrimSpace(c.r.Header.Get("If-Match"))
	if value == "*" {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(value, "W/"), `"`)
}
