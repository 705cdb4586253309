// SPDX-License-Identifier: Apache-2.0

package egress

import "net/netip"

// class says what has to be allowed before an address of a range is dialed.
type class uint8

const (
	global   class = iota // anywhere on the internet: always fine
	loopback              // needs AllowLoopback or an exception
	private               // needs AllowPrivate or an exception
	never                 // no setting opens it
)

// special is one special-use range of the IANA registries for IPv4 and IPv6
// (RFC 6890 and its successors).
type special struct {
	prefix netip.Prefix
	class  class
	name   string
}

// specials lists the ranges, the more special one first where two overlap.
// An IPv6 address outside 2000::/3 that is in no row is refused as well: only
// that block is handed out.
func specials() []special {
	row := func(prefix string, c class, name string) special {
		return special{netip.MustParsePrefix(prefix), c, name}
	}
	return []special{
		// The metadata services of clouds hand out the machine's credentials.
		// Most hide in link-local space; these sit in ranges that a setting
		// may open, or on an address that looks public.
		row("100.100.100.200/32", never, "cloud metadata"),
		row("168.63.129.16/32", never, "cloud metadata"),
		row("fd00:ec2::/32", never, "cloud metadata"),
		row("fd20:ce::254/128", never, "cloud metadata"),

		row("127.0.0.0/8", loopback, "loopback"),
		row("::1/128", loopback, "loopback"),

		row("10.0.0.0/8", private, "private"),
		row("172.16.0.0/12", private, "private"),
		row("192.168.0.0/16", private, "private"),
		row("100.64.0.0/10", private, "shared address space"),
		row("fc00::/7", private, "unique local"),

		row("0.0.0.0/8", never, "this network"),
		row("169.254.0.0/16", never, "link-local"),
		row("192.0.0.0/24", never, "IETF protocol assignments"),
		row("192.0.2.0/24", never, "documentation"),
		row("192.88.99.0/24", never, "6to4 relay"),
		row("198.18.0.0/15", never, "benchmarking"),
		row("198.51.100.0/24", never, "documentation"),
		row("203.0.113.0/24", never, "documentation"),
		row("224.0.0.0/4", never, "multicast"),
		row("240.0.0.0/4", never, "reserved"),

		row("::/128", never, "unspecified"),
		row("::/96", never, "IPv4-compatible"),
		row("64:ff9b::/96", never, "NAT64"),
		row("64:ff9b:1::/48", never, "NAT64"),
		row("100::/64", never, "discard"),
		row("2001::/23", never, "IETF protocol assignments"), // Teredo, ORCHID, benchmarking
		row("2001:db8::/32", never, "documentation"),
		row("2002::/16", never, "6to4"),
		row("3fff::/20", never, "documentation"),
		row("5f00::/16", never, "segment routing"),
		row("fe80::/10", never, "link-local"),
		row("fec0::/10", never, "site-local"),
		row("ff00::/8", never, "multicast"),
	}
}

// classify returns the class of a, and the name of its range unless global.
// An IPv4-mapped IPv6 address is judged as the IPv4 address that the kernel
// would connect to; a zone only exists on addresses that are not global.
func classify(a netip.Addr) (class, string) {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return never, "zoned"
	}
	for _, s := range specials() {
		if s.prefix.Contains(a) {
			return s.class, s.name
		}
	}
	if a.Is6() && !netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3).Contains(a) {
		return never, "unassigned"
	}
	return global, ""
}
