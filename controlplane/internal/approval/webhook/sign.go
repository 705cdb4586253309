// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Headers of a message.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

const (
	// secretPrefix begins a secret that is written in Base64.
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
	version      = "v1,"
	// tolerance is how far the time of a message may be off.
	tolerance = 5 * time.Minute
	maxID     = 256
)

// ReasonSecret (Invalid): a secret cannot be used.
const ReasonSecret = "WEBHOOK_SECRET_INVALID"

// Secret signs messages.
type Secret struct{ key []byte }

// ParseSecret reads a secret: "whsec_" with 24 to 64 bytes in Base64, or these bytes as they are. White space around it does not
// count. The fault is Invalid, WEBHOOK_SECRET_INVALID.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, secretPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil { // the error tells where, and with that something of it
			return Secret{}, fault.New(fault.Invalid, ReasonSecret, "The secret of the webhook is not whsec_ and Base64.")
		}
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fault.Newf(fault.Invalid, ReasonSecret, "The secret of the webhook has %d bytes; it has %d to %d.", len(key), minSecret, maxSecret)
	}
	return Secret{key}, nil
}

// String hides the secret.
func (Secret) String() string { return "[redacted]" }

// GoString hides the secret.
func (Secret) GoString() string { return "[redacted]" }

// sum is the HMAC of a message: of its id, its time in seconds and its body, with dots between.
func (s Secret) sum(id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	_, _ = h.Write([]byte(id + "." + timestamp + ".")) // a hash never fails
	_, _ = h.Write(body)
	return h.Sum(nil)
}

// sign sets the headers of a message.
func (s Secret) sign(h http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set(headerID, id)
	h.Set(headerTimestamp, timestamp)
	h.Set(headerSignature, version+base64.StdEncoding.EncodeToString(s.sum(id, timestamp, body)))
}

// verify returns the id of a message that was signed with the secret just now. It does not say what is wrong with another one: that
// would help only who has no secret.
func (s Secret) verify(h http.Header, now time.Time, body []byte) (id string, ok bool) {
	id, timestamp := h.Get(headerID), h.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", false
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return "", false
	}
	want := s.sum(id, timestamp, body)
	for _, signature := range strings.Fields(h.Get(headerSignature)) { // several, while a secret is changed
		encoded, known := strings.CutPrefix(signature, version)
		got, err := base64.StdEncoding.DecodeString(encoded)
		if known && err == nil && hmac.Equal(got, want) {
			ok = true
		}
	}
	return id, ok
}
