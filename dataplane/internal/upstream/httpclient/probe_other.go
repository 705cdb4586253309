// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package httpclient

import "net"

// prober cannot look into a socket here, so no connection is used twice: a
// reused one might be dead, and a request is never sent a second time.
type prober struct{}

func newProber(net.Conn) prober { return prober{} }

func (prober) quiet() bool { return false }
