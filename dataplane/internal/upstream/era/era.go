// SPDX-License-Identifier: Apache-2.0

// Package era says what an upstream's answer tells about its era, its version
// and its session: the tables of mcp.md M-2 and M-3 as pure functions.
//
// Called by upstream. It must never send anything.
package era

import (
	"bytes"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Answer is what an upstream answered: an HTTP status with the raw result, or
// the raw JSON-RPC error object, or neither.
type Answer struct {
	Status        int
	Result, Error []byte
}

// Credential reports whether the answer is about the credential.
func (a Answer) Credential() bool { return a.Status == 401 || a.Status == 403 }

// Conclusion is what follows from an answer.
type Conclusion uint8

const (
	// Speaks: the version is known.
	Speaks Conclusion = iota
	// Ask: send initialize for the version.
	Ask
	// Refused: the status says nothing about the era (credential, back off).
	Refused
	// Broken: a modern server that does not take our request.
	Broken
	// Foreign: the server speaks none of our versions.
	Foreign
	// NoServer: nothing at the URL speaks MCP over Streamable HTTP; it may speak
	// HTTP+SSE.
	NoServer
)

// Finding is a conclusion with its version.
type Finding struct {
	Conclusion Conclusion
	Version    wire.Version
	// Listed are the versions of a Foreign server.
	Listed []wire.Version
}

// OfDiscover reads the answer to server/discover (M-2 step 1).
func OfDiscover(a Answer) Finding {
	if a.Result != nil {
		return ofList(versions(a.Result, "supportedVersions"))
	}
	code := Code(a.Error)
	switch {
	case a.Credential() || a.Status == 429:
		return Finding{Conclusion: Refused}
	case code == wire.CodeVersion:
		return ofList(versions(data(a.Error), "supported"))
	case a.Status == 400 && (code == wire.CodeHeaderMismatch || code == wire.CodeMissingCapability):
		return Finding{Conclusion: Broken}
	}
	return Finding{Conclusion: Ask, Version: wire.LatestLegacy}
}

// ofList chooses from the versions that a server lists; without a list
// initialize must tell.
func ofList(list []wire.Version) Finding {
	if len(list) == 0 {
		return Finding{Conclusion: Ask, Version: wire.LatestLegacy}
	}
	for _, v := range wire.Supported() {
		switch {
		case !slices.Contains(list, v):
		case v.Era() == wire.Modern:
			return Finding{Conclusion: Speaks, Version: v}
		default:
			return Finding{Conclusion: Ask, Version: v}
		}
	}
	return Finding{Conclusion: Foreign, Listed: list}
}

// OfRefusedInitialize reads an answer to initialize that has no result (M-2
// step 2).
func OfRefusedInitialize(a Answer) Finding {
	code := Code(a.Error)
	switch {
	case a.Status == 404 && code == wire.CodeMethodNotFound,
		a.Status == 400 && (code == wire.CodeHeaderMismatch || code == wire.CodeVersion):
		return Finding{Conclusion: Speaks, Version: wire.V20260728} // modern without discover (ours)
	case a.Status < 400 || a.Status >= 500 || a.Credential() || a.Status == 429:
		return Finding{Conclusion: Refused}
	}
	return Finding{Conclusion: NoServer}
}

// RequiredCapabilities returns data.requiredCapabilities of error -32021, a raw
// object, nil if there is none.
func RequiredCapabilities(object []byte) []byte {
	if Code(object) != wire.CodeMissingCapability {
		return nil
	}
	raw := data(object)
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil
	}
	if need := wire.Lookup(fields, "requiredCapabilities").Of(raw); wire.IsObject(need) {
		return need
	}
	return nil
}

// NotLegacy reports whether an upstream that was thought legacy refused
// initialize in a way that contradicts that (M-3).
func NotLegacy(a Answer) bool {
	switch Code(a.Error) {
	case wire.CodeMethodNotFound, wire.CodeVersion, wire.CodeHeaderMismatch:
		return true
	}
	return false
}

// noSession is what many legacy servers answer, with status 400, to a request
// without a session. It is in no specification.
const noSession = -32000

// Contradicts reports whether an answer says that the upstream is of another
// era than v (M-3). Such an answer means that the request did not run.
func Contradicts(v wire.Version, a Answer) bool {
	code := Code(a.Error)
	if a.Result != nil || code == wire.CodeVersion {
		return a.Result == nil
	}
	if v.Era() != wire.Modern || a.Status < 400 || a.Status >= 500 || a.Status == 429 {
		return false
	}
	return a.Error == nil || code == wire.CodeInvalidRequest || code == noSession
}

// SessionGone reports whether an answer says that the upstream does not know
// the session: 404, or, as some servers have it, 400 with a message about it
// (ours). Either way the request did not run.
func SessionGone(a Answer) bool {
	if a.Status == 404 {
		return true
	}
	return a.Status == 400 && bytes.Contains(bytes.ToLower([]byte(Error(a.Error).Error())), []byte("session"))
}

// Error is a raw JSON-RPC error object as a Go error.
type Error []byte

// Error returns code and message, cut: an upstream wrote them.
func (e Error) Error() string {
	var m wire.Message
	if err := wire.ScanError(e, &m); err != nil {
		return "unreadable JSON-RPC error"
	}
	text, _ := wire.DecodeString(m.E.Message.Of(e))
	if len(text) > 200 {
		text = text[:200]
	}
	return "JSON-RPC error " + string(m.E.Code.Of(e)) + ": " + text
}

// Code returns the code of a raw JSON-RPC error object, 0 if there is none.
func Code(object []byte) int64 {
	if object == nil {
		return 0
	}
	var m wire.Message
	if err := wire.ScanError(object, &m); err != nil {
		return 0
	}
	n, _ := wire.Int(m.E.Code.Of(object))
	return n
}

func data(object []byte) []byte {
	var m wire.Message
	if err := wire.ScanError(object, &m); err != nil {
		return nil
	}
	return m.E.Data.Of(object)
}

// maxListed bounds how many versions of a server's list are looked at.
const maxListed = 32

// versions reads a list of versions out of the member key of an object.
func versions(object []byte, key string) []wire.Version {
	fields, err := wire.Fields(nil, object)
	if err != nil {
		return nil
	}
	raw := wire.Lookup(fields, key).Of(object)
	spans, err := wire.Elements(nil, raw)
	if err != nil {
		return nil
	}
	var out []wire.Version
	for _, s := range spans[:min(len(spans), maxListed)] {
		if v, ok := wire.DecodeString(s.Of(raw)); ok && len(v) <= len("2026-07-28") {
			out = append(out, wire.Version(v))
		}
	}
	return out
}
