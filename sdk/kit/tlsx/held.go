// SPDX-License-Identifier: Apache-2.0

package tlsx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync/atomic"
)

// Source is where a process has its certificate and the authorities that it
// trusts from: [Files], or a [Held] that somebody fills in memory.
type Source interface {
	// open returns what hands out the newest material, or why there is none.
	open() (func() *material, error)
}

// Held is the certificate of a process and the authorities that it trusts, in
// memory. Each handshake uses what was set last; connections that are open stay
// as they are. The zero value is empty. It is safe for concurrent use.
type Held struct{ current atomic.Pointer[material] }

// Set replaces the certificate (with its private key and, if the peers need
// them, further certificates of the chain) and the authorities. Both belong to
// h from then on.
func (h *Held) Set(cert *tls.Certificate, authorities []*x509.Certificate) {
	roots := x509.NewCertPool()
	for _, c := range authorities {
		roots.AddCert(c)
	}
	h.current.Store(&material{cert: cert, roots: roots})
}

func (h *Held) open() (func() *material, error) {
	if h.current.Load() == nil {
		return nil, unusable("%s", errors.New("it was not set"), "certificate in memory")
	}
	return h.current.Load, nil
}
