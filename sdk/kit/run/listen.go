// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Listen].
const (
	ReasonPortInUse      = "PORT_IN_USE"
	ReasonPortDenied     = "PORT_NOT_PERMITTED"
	ReasonAddressUnknown = "ADDRESS_NOT_LOCAL"
	ReasonAddressInvalid = "ADDRESS_INVALID"
)

// Listen opens a TCP listener on addr, host:port with a numeric port (0 takes
// any free one). setting is the name of the setting that addr came from; the
// error tells the user to change it.
//
// The faults are Precondition PORT_IN_USE, PORT_NOT_PERMITTED and
// ADDRESS_NOT_LOCAL, and Invalid ADDRESS_INVALID.
func Listen(addr, setting string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if _, numberErr := strconv.ParseUint(port, 10, 16); err != nil || numberErr != nil {
		return nil, fault.Newf(fault.Invalid, ReasonAddressInvalid, "%s is %q, which is not host:port.", setting, addr).
			Because(err).At(setting, "is not host:port")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, refusal(err, host, port, setting)
	}
	return l, nil
}

// refusal says what to do about an address that could not be listened on.
func refusal(err error, host, port, setting string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Newf(fault.Precondition, ReasonPortInUse,
			"Port %s on %s is in use by another process: stop it, set %s to a free address, or set PENSTOCK_PORT_OFFSET to shift all default ports.",
			port, hostText(host), setting).Because(err).At(setting, "names a port that is in use")
	case errors.Is(err, syscall.EACCES):
		return fault.Newf(fault.Precondition, ReasonPortDenied,
			"This user may not listen on port %s: set %s to a port above 1023.", port, setting).
			Because(err).At(setting, "names a port this user may not listen on")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.Newf(fault.Precondition, ReasonAddressUnknown,
			"%s is no address of this machine: change %s.", hostText(host), setting).
			Because(err).At(setting, "names an address this machine does not have")
	default:
		return fault.Newf(fault.Invalid, ReasonAddressInvalid,
			"Port %s on %s cannot be listened on: change %s.", port, hostText(host), setting).
			Because(err).At(setting, "cannot be listened on")
	}
}

func hostText(host string) string {
	if host == "" {
		return "all addresses"
	}
	return host
}
