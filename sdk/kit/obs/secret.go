// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every form of a [Secret] prints, also of an empty one.
const Redacted = "[redacted]"

// Secret is a string that prints "[redacted]" in every format: fmt verbs,
// JSON, text, YAML and slog. Only [Secret.Reveal] gives the value.
//
// Two places are out of its reach. fmt cannot call methods on unexported
// fields and prints the bytes of one that hides there: keep secrets in
// exported fields, or in a struct that formats itself. And encoding/json takes
// map keys of string kinds as they are: a secret is never a map key.
type Secret string

// Reveal returns the value. Each caller of it is a place to review.
func (s Secret) Reveal() string { return string(s) }

// String returns "[redacted]".
func (s Secret) String() string { return Redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return Redacted }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText returns "[redacted]"; YAML and XML go through it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue returns "[redacted]" for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// Format prints "[redacted]" for every verb, %x, %q and %d among them, which
// would otherwise reach the underlying string.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, Redacted) // fmt.State keeps no error either
}
