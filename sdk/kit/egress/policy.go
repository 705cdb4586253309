// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonRefused is an address or name that the policy does not let out.
	ReasonRefused = "EGRESS_REFUSED"
	// ReasonUnresolved is a name without an address, or a resolver that does
	// not answer.
	ReasonUnresolved = "NAME_NOT_RESOLVED"
	// ReasonUnreachable is a connection that could not be made.
	ReasonUnreachable = "HOST_UNREACHABLE"
	// ReasonURL is a URL that may not be called at all.
	ReasonURL = "URL_INVALID"
)

const (
	// perAddress bounds one connection attempt, so that a silent first address
	// leaves time for the next.
	perAddress = 5 * time.Second
	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 8
)

// Resolver turns a name into addresses; [net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Exception opens addresses for one host: those of Prefixes, on Port (0 is
// every port). It is the deployment setting egress_allow, and what
// [Policy.Permit] makes for a URL that an admin registered. No exception
// opens link-local, multicast or metadata addresses.
type Exception struct {
	Host     string // as it stands in the URL: a name or an IP literal
	Port     uint16
	Prefixes []netip.Prefix
}

// ParseException reads an exception as the setting egress_allow writes it,
// host=network, for example "idp.internal=10.1.0.0/16". It returns false for
// anything else.
func ParseException(text string) (Exception, bool) {
	host, network, found := strings.Cut(text, "=")
	prefix, err := netip.ParsePrefix(network)
	if !found || host == "" || err != nil {
		return Exception{}, false
	}
	return Exception{Host: host, Prefixes: []netip.Prefix{prefix}}, true
}

// ParseExceptions reads several. problem is the first that cannot be read, empty
// if there is none.
func ParseExceptions(texts []string) (list []Exception, problem string) {
	for _, text := range texts {
		exception, ok := ParseException(text)
		if !ok {
			return nil, text
		}
		list = append(list, exception)
	}
	return list, ""
}

// Policy says which special-use addresses may be dialed. The zero value lets
// only global addresses pass. AllowLoopback opens 127.0.0.0/8, ::1 and the
// name localhost; AllowPrivate opens RFC 1918, shared (100.64.0.0/10) and
// unique local addresses. Nothing opens the rest.
//
// A Policy is a value and safe for concurrent use; its methods never change it.
type Policy struct {
	AllowLoopback, AllowPrivate bool

	// Exceptions add to the two switches, host by host.
	Exceptions []Exception
	// Resolver is asked for the addresses of names; nil is the system's.
	Resolver Resolver
}

// DialContext connects to addr, host:port, over network tcp, tcp4 or tcp6. It
// has the shape of http.Transport.DialContext. A name is resolved once; when
// any of its addresses is refused the whole dial is, so that mixing a public
// and an internal address gains nothing. The checked addresses are then
// dialed in order, each for at most 5 s.
//
// The faults are Precondition EGRESS_REFUSED, Unavailable NAME_NOT_RESOLVED
// and HOST_UNREACHABLE, Invalid URL_INVALID, and those of an ended ctx. Their
// public text names the host, never an address it resolved to.
func (p Policy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fault.Newf(fault.Invalid, ReasonURL, "The network %q is not TCP.", network)
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fault.New(fault.Invalid, ReasonURL, "The address is not host:port.").Because(err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fault.New(fault.Invalid, ReasonURL, "The port is not a number from 1 to 65535.")
	}
	addrs, err := p.resolve(ctx, network, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := p.check(host, uint16(port), a); err != nil {
			return nil, err
		}
	}
	return dialFirst(ctx, network, host, addrs, uint16(port))
}

// resolve returns the addresses of host, at least one. The name localhost
// never reaches a resolver, which could answer anything (RFC 6761 §6.3).
func (p Policy) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	ipNetwork := "ip" + strings.TrimPrefix(network, "tcp")
	if isLoopbackName(host) {
		switch ipNetwork {
		case "ip4":
			return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
		case "ip6":
			return []netip.Addr{netip.IPv6Loopback()}, nil
		}
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	var r Resolver = net.DefaultResolver
	if p.Resolver != nil {
		r = p.Resolver
	}
	addrs, err := r.LookupNetIP(ctx, ipNetwork, host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no addresses")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("resolve %s: %w", host, ctx.Err())
		}
		return nil, fault.Newf(fault.Unavailable, ReasonUnresolved, "The name %s cannot be resolved.", host).Because(err)
	}
	return addrs, nil
}

// check refuses an address that the policy does not open for host and port.
func (p Policy) check(host string, port uint16, a netip.Addr) error {
	c, name := classify(a)
	switch {
	case c == global,
		c == loopback && p.AllowLoopback,
		c == private && p.AllowPrivate:
		return nil
	case c != never && p.excepted(host, port, a.Unmap()):
		return nil
	}
	return fault.Newf(fault.Precondition, ReasonRefused, "Connections to %s are not allowed by the egress policy.", host).
		Because(fmt.Errorf("address %s is %s", a, name))
}

func (p Policy) excepted(host string, port uint16, a netip.Addr) bool {
	for _, e := range p.Exceptions {
		if !strings.EqualFold(strings.TrimSuffix(e.Host, "."), strings.TrimSuffix(host, ".")) || e.Port != 0 && e.Port != port {
			continue
		}
		for _, prefix := range e.Prefixes {
			if prefix.Contains(a) {
				return true
			}
		}
	}
	return false
}

// dialFirst connects to the first address that answers.
func dialFirst(ctx context.Context, network, host string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: perAddress}
	var errs []error
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		c, err := d.DialContext(ctx, network, netip.AddrPortFrom(a.Unmap(), port).String())
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to %s: %w", host, ctx.Err())
		}
		errs = append(errs, err)
	}
	return nil, fault.Newf(fault.Unavailable, ReasonUnreachable, "No connection to %s could be made.", host).
		Because(errors.Join(errs...))
}

// isLoopbackName reports whether host is a name that means this machine
// (RFC 6761 §6.3, and the names that hosts files of Linux give to ::1).
func isLoopbackName(host string) bool {
	h := strings.ToLower(strings.TrimSuffix(host, "."))
	switch h {
	case "localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback":
		return true
	}
	return strings.HasSuffix(h, ".localhost")
}
