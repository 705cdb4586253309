// SPDX-License-Identifier: Apache-2.0

package wire

// Version is a published revision of the Model Context Protocol in the form it
// has on the wire, for example "2025-11-25". The zero value means "not known".
type Version string

// The five published versions, oldest first (mcp.md §1.1).
const (
	V20241105 Version = "2024-11-05"
	V20250326 Version = "2025-03-26"
	V20250618 Version = "2025-06-18"
	V20251125 Version = "2025-11-25"
	V20260728 Version = "2026-07-28"
)

// Latest is the newest version, LatestLegacy the newest one with sessions.
const (
	Latest       = V20260728
	LatestLegacy = V20251125
)

// Era says which of the two request models a version belongs to.
type Era uint8

const (
	// Unknown is the era of a version that is not one of the five.
	Unknown Era = iota
	// Legacy versions start with initialize and may have a session.
	Legacy
	// Modern versions are stateless: every request carries its own _meta.
	Modern
)

// String returns "legacy", "modern" or "unknown".
func (e Era) String() string {
	switch e {
	case Legacy:
		return "legacy"
	case Modern:
		return "modern"
	case Unknown:
	}
	return "unknown"
}

// Era returns the era of v, Unknown if v is not one of the five versions.
func (v Version) Era() Era {
	switch v {
	case V20241105, V20250326, V20250618, V20251125:
		return Legacy
	case V20260728:
		return Modern
	}
	return Unknown
}

// Known reports whether v is one of the five published versions.
func (v Version) Known() bool { return v.Era() != Unknown }

// AtLeast reports whether v is the same as or newer than o. Both must be
// known versions; their ISO dates sort as text.
func (v Version) AtLeast(o Version) bool { return v >= o }

// ParseVersion returns the version named by s and whether s names one.
func ParseVersion(s string) (Version, bool) {
	v := Version(s)
	return v, v.Known()
}

// Supported returns all five versions, newest first (M-5). The caller owns the
// array.
func Supported() [5]Version {
	return [...]Version{V20260728, V20251125, V20250618, V20250326, V20241105}
}

// SupportedFor returns the list for data.supported of error -32022 when
// requested was asked for: all five, but only modern ones when requested is a
// legacy version, because that one has no stateless form (M-5).
func SupportedFor(requested string) []Version {
	all := Supported()
	if Version(requested).Era() == Legacy {
		return all[:1]
	}
	return all[:]
}

// Negotiate returns the version that initialize answers when the client asked
// for requested: that version if it is a legacy one, else the newest legacy
// one (M-4).
func Negotiate(requested string) Version {
	if v := Version(requested); v.Era() == Legacy {
		return v
	}
	return LatestLegacy
}
