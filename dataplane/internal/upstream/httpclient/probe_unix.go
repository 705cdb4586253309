// SPDX-License-Identifier: Apache-2.0

//go:build unix

package httpclient

import (
	"errors"
	"net"
	"syscall"
)

// prober looks whether anything has come on an idle connection without
// consuming it.
type prober struct{ p *probe }

type probe struct {
	raw   syscall.RawConn
	look  func(fd uintptr) bool // made once, so that probing does not allocate
	alive bool
}

func newProber(nc net.Conn) prober {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return prober{}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return prober{}
	}
	p := &probe{raw: raw}
	p.look = func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.alive = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	}
	return prober{p}
}

// quiet reports whether the connection is open and has nothing to read: data
// or an end of stream before a request was sent make it unusable. A connection
// that cannot be looked at is never called quiet, and so never used twice.
func (p prober) quiet() bool {
	if p.p == nil {
		return false
	}
	p.p.alive = false
	return p.p.raw.Read(p.p.look) == nil && p.p.alive
}
