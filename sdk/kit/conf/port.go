// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	envPortOffset  = Prefix + "PORT_OFFSET"
	pathPortOffset = "port_offset"
	maxPort        = 65535
)

// PortOffset is added to every default port, so that several deployments can
// run on one machine.
type PortOffset int

// ReadPortOffset returns PENSTOCK_PORT_OFFSET, 0 when it is not set. What is
// not a number from 0 to 65535 is Invalid, CONFIG_INVALID.
func ReadPortOffset(environ []string) (PortOffset, error) {
	text, ok := lookup(environ, envPortOffset)
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fault.Newf(fault.Invalid, ReasonInvalid, "%s is %q, not a number from 0 to %d.", envPortOffset, text, maxPort).
			At(envPortOffset, "is not a number from 0 to 65535")
	}
	return PortOffset(n), nil
}

// Shift adds the offset to the port of addr, which is host:port or a URL. An
// addr without a port, and port 0 (any free one), come back unchanged. A port
// above 65535 is Invalid, CONFIG_INVALID.
func (o PortOffset) Shift(addr string) (string, error) {
	if o == 0 {
		return addr, nil
	}
	if strings.Contains(addr, "://") {
		u, err := url.Parse(addr)
		if err != nil || u.Port() == "" {
			return addr, nil //nolint:nilerr // not a URL with a port: nothing to shift
		}
		if u.Host, err = o.Shift(u.Host); err != nil {
			return "", err
		}
		return u.String(), nil
	}
	host, text, err := net.SplitHostPort(addr)
	port, numberErr := strconv.Atoi(text)
	if err != nil || numberErr != nil || port == 0 {
		return addr, nil //nolint:nilerr // no port: nothing to shift
	}
	if port += int(o); port > maxPort || port < 1 {
		return "", fault.Newf(fault.Invalid, ReasonInvalid, "%s shifts the default address %s to port %d.", envPortOffset, addr, port).
			At(envPortOffset, "shifts a port beyond 65535")
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// shiftPorts moves the ports of the settings that still have their defaults.
// The offset is the setting port_offset where the program has one.
func (l *loader) shiftPorts() {
	offset, err := ReadPortOffset(l.program.Environ)
	if err != nil {
		l.problem(pathPortOffset, "", "%s", publicText(err))
		return
	}
	if st := l.schema.byPath[pathPortOffset]; st != nil && st.value.CanInt() {
		offset = PortOffset(st.value.Int())
	}
	if offset == 0 {
		return
	}
	for _, st := range l.schema.settings {
		if !st.port || st.origin.Layer != LayerDefault || st.isEmpty() {
			continue
		}
		if err := shiftValue(st.value, offset); err != nil {
			l.problem(st.path, "", "%s", publicText(err))
			continue
		}
		st.origin.Where = fmt.Sprintf("shifted by %d", offset)
	}
}

// shiftValue shifts a string, or each one of a list: hasPort has looked.
func shiftValue(v reflect.Value, offset PortOffset) error {
	if v.Kind() == reflect.Slice {
		list := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v) // the elements may be the caller's
		for i := range list.Len() {
			if err := shiftValue(list.Index(i), offset); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	}
	shifted, err := offset.Shift(v.String())
	if err == nil {
		v.SetString(shifted)
	}
	return err
}

// hasPort reports whether values of t can be addresses.
func hasPort(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.String
}
