// SPDX-License-Identifier: Apache-2.0

package child

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// ringSize is how much of standard error is kept (M-94).
	ringSize = 64 << 10
	// shortestSecret is the length from which on a value is redacted; shorter ones would only garble the text.
	shortestSecret = 4
)

// Ring keeps the last 64 KiB written to it. The zero value is ready; it is safe for concurrent use.
type Ring struct {
	mu  sync.Mutex // guards what follows
	buf []byte     // grows up to ringSize
	at  int        // where the oldest byte is, once full
	cut bool       // bytes were lost
}

// Write implements io.Writer and never fails.
func (r *Ring) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(b)
	if len(b) > ringSize {
		b, r.cut = b[len(b)-ringSize:], true
	}
	grow := min(ringSize-len(r.buf), len(b))
	r.buf = append(r.buf, b[:grow]...)
	if b = b[grow:]; len(b) > 0 {
		r.cut = true
		k := copy(r.buf[r.at:], b)
		copy(r.buf, b[k:])
		r.at = (r.at + len(b)) % ringSize
	}
	return n, nil
}

// Text returns what is kept, from the start of a line on, with the secrets in it redacted.
func (r *Ring) Text(secrets map[string]obs.Secret) string {
	r.mu.Lock()
	whole := append(append(make([]byte, 0, len(r.buf)), r.buf[r.at:]...), r.buf[:r.at]...)
	cut := r.cut
	r.mu.Unlock()
	if cut { // the first line may begin in the middle of a secret
		_, whole, _ = bytes.Cut(whole, []byte{'\n'})
	}
	text := strings.ToValidUTF8(string(whole), "\uFFFD")
	for _, secret := range redactable(secrets) {
		text = strings.ReplaceAll(text, secret, obs.Redacted)
	}
	return text
}

// redactable returns the texts to redact, the longest first, because one may be part of another. A value of several
// lines may stand in a text line by line.
func redactable(secrets map[string]obs.Secret) []string {
	var list []string
	for _, s := range secrets {
		for line := range strings.Lines(s.Reveal()) {
			if line = strings.TrimSpace(line); len(line) >= shortestSecret {
				list = append(list, line)
			}
		}
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	return list
}

// LastLine returns the end of the last line that says something, redacted like [Ring.Text].
func (r *Ring) LastLine(secrets map[string]obs.Secret) string {
	text := strings.TrimSpace(r.Text(secrets))
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = strings.TrimSpace(text[i+1:])
	}
	const most = 300
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return text
}
