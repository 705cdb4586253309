// SPDX-License-Identifier: Apache-2.0

package router

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientIP returns the address a request came from (RL-4). Each proxy appends the address of its peer to X-Forwarded-For, and
// whoever is before it may have written anything. So the list is read from the right for as long as trusted proxies wrote it:
// the first address that is no trusted proxy is the client's. What is no address ends the list.
func clientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ip := parseAddress(r.RemoteAddr)
	if !isTrusted(ip, trusted) {
		return ip
	}
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= 0; i-- {
		next := parseAddress(strings.TrimSpace(list[i]))
		if !next.IsValid() {
			return ip
		}
		if ip = next; !isTrusted(ip, trusted) {
			return ip
		}
	}
	return ip
}

// parseAddress reads an address with or without a port; no address is the zero value.
func parseAddress(s string) netip.Addr {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap()
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

func isTrusted(ip netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
