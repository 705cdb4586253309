// SPDX-License-Identifier: Apache-2.0

// Package freshness says how long a document that was fetched may be used, by the headers that came with it (RFC 9111 §4.2.1).
//
// Rooms that keep documents of others call it, and bound what it says. It must never know what the documents are, nor fetch
// them.
package freshness

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Lifetime returns how long an answer is fresh from now on: what is left of max-age, or until Expires, or unstated where the
// answer says neither. It may be negative, and is 0 with no-store and no-cache. What cannot be read counts as 0 seconds.
func Lifetime(h http.Header, now time.Time, unstated time.Duration) time.Duration {
	left := unstated
	if until, err := http.ParseTime(h.Get("Expires")); err == nil {
		left = until.Sub(now)
	}
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			left = seconds(strings.Trim(value, `"`)) - seconds(h.Get("Age"))
		}
	}
	return left
}

func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
