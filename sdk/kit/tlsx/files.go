// SPDX-License-Identifier: Apache-2.0

package tlsx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Reasons of the faults of this package.
const (
	// ReasonFiles is a certificate, key or CA file that cannot be used.
	ReasonFiles = "TLS_FILES_INVALID"
	// ReasonPeer is a peer whose certificate does not verify, or that is not
	// who it has to be.
	ReasonPeer = "TLS_PEER_REFUSED"
)

// checkEvery bounds how often a handshake looks at the files.
const checkEvery = time.Second

// Files names the PEM files of one process: its certificate (with
// intermediates after it), its private key, and the authorities it trusts.
//
// The files are read at once, and again at the first handshake after one of
// them changed (looked at no more than once a second). Files that are half
// written, or do not belong together, leave the ones before in use.
type Files struct {
	Cert, Key, CA string

	// Trust holds authorities that are trusted beside those of the file CA.
	Trust []*x509.Certificate

	// Role, if not empty, is what the certificate must be for. Who accepts
	// several roles tells peers apart by it, so a process that has another's
	// certificate would be taken for what it is not.
	Role ident.Role

	// OnReload, if not nil, is told of each reading after the first: nil for
	// new files in use, otherwise why the files before stay in use. Calls do
	// not overlap; while the files are bad there is at most one a second.
	OnReload func(error)
}

// open implements [Source].
func (f Files) open() (func() *material, error) {
	s, err := newSource(f, time.Now)
	if err != nil {
		return nil, err
	}
	return s.get, nil
}

// material is what one reading of the files gave; it is never changed.
type material struct {
	cert  *tls.Certificate
	roots *x509.CertPool
	seen  [3]fs.FileInfo // as they were before reading
}

// source hands out the newest readable material.
type source struct {
	files   Files
	now     func() time.Time
	current atomic.Pointer[material]
	next    atomic.Int64 // when to look again, in UnixNano

	mu sync.Mutex // held by the one handshake that looks at the files
}

func newSource(f Files, now func() time.Time) (*source, error) {
	s := &source{files: f, now: now}
	m, err := read(f)
	if err != nil {
		return nil, err
	}
	s.current.Store(m)
	s.next.Store(now().Add(checkEvery).UnixNano())
	return s, nil
}

// get returns the material to use now. Only one handshake at a time looks at
// the files; others go on with what is there.
func (s *source) get() *material {
	if now := s.now(); now.UnixNano() >= s.next.Load() && s.mu.TryLock() {
		defer s.mu.Unlock()
		s.next.Store(now.Add(checkEvery).UnixNano())
		s.reload()
	}
	return s.current.Load()
}

// reload reads the files if one of them changed. The state is taken before
// reading, so a change during the reading is seen as one the next time.
func (s *source) reload() {
	seen, err := stat(s.files)
	if err == nil && unchanged(seen, s.current.Load().seen) {
		return
	}
	var m *material
	if err == nil {
		m, err = read(s.files)
	}
	if err == nil {
		s.current.Store(m)
	}
	if s.files.OnReload != nil {
		s.files.OnReload(err)
	}
}

func read(f Files) (*material, error) {
	seen, err := stat(f)
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, unusable("certificate %s and key %s", err, f.Cert, f.Key)
	}
	if f.Role != "" {
		if own, err := ident.FromCertificate(cert.Leaf); err != nil || own.Role != f.Role {
			return nil, unusable("certificate %s, which is not one of the role %s,", err, f.Cert, f.Role)
		}
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, unusable("authorities %s", err, f.CA)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, unusable("authorities %s", errors.New("no certificate in it"), f.CA)
	}
	for _, c := range f.Trust {
		roots.AddCert(c)
	}
	return &material{cert: &cert, roots: roots, seen: seen}, nil
}

func stat(f Files) ([3]fs.FileInfo, error) {
	var seen [3]fs.FileInfo
	for i, name := range [...]string{f.Cert, f.Key, f.CA} {
		info, err := os.Stat(name) // follows the links that secret mounts are made of
		if err != nil {
			return seen, unusable("file %s", err, name)
		}
		seen[i] = info
	}
	return seen, nil
}

func unchanged(a, b [3]fs.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

func unusable(what string, cause error, names ...any) error {
	return fault.New(fault.Precondition, ReasonFiles, "The TLS "+fmt.Sprintf(what, names...)+" cannot be used.").Because(cause)
}
