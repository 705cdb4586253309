// SPDX-License-Identifier: Apache-2.0

// Package enroll tells which workload is at the other end of a gRPC connection: by the SPIFFE id in its client
// certificate (D-80), or, in standalone, by the in-memory listener it came through.
//
// distribute and nodeapi ask it, and for directory the root. It must never take an identity from a message.
package enroll

import (
	"context"
	"net"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// Peer returns the workload that made the call. Without a verified identity the fault is Unauthenticated; with another
// role than one of those wanted it is Denied.
func Peer(ctx context.Context, roles ...ident.Role) (ident.Workload, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ident.Workload{}, unknown(nil)
	}
	var w ident.Workload
	switch info := p.AuthInfo.(type) {
	case credentials.TLSInfo:
		var err error
		if w, err = tlsx.Peer(info.State); err != nil {
			return ident.Workload{}, unknown(err)
		}
	case local:
		w = info.workload
	default:
		return ident.Workload{}, unknown(nil)
	}
	if !slices.Contains(roles, w.Role) {
		return ident.Workload{}, fault.Newf(fault.Denied, "WRONG_ROLE", "this API is for workloads of role %s", slices.Sorted(slices.Values(roles)))
	}
	return w, nil
}

func unknown(cause error) error {
	return fault.New(fault.Unauthenticated, "NO_IDENTITY", "a client certificate with a SPIFFE id is required").Because(cause)
}

// local is the identity of every connection of an in-memory listener.
type local struct {
	credentials.CommonAuthInfo
	workload ident.Workload
}

// AuthType implements credentials.AuthInfo.
func (local) AuthType() string { return "memory" }

// memory are transport credentials for a listener that only this process can reach.
type memory struct{ workload ident.Workload }

// Local returns server credentials that give every connection the same identity. They are for in-memory listeners only:
// nothing is encrypted or checked.
func Local(w ident.Workload) credentials.TransportCredentials { return memory{w} }

// ClientHandshake implements credentials.TransportCredentials.
func (m memory) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, m.info(), nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (m memory) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c, m.info(), nil
}

func (m memory) info() local {
	return local{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, m.workload}
}

// Info implements credentials.TransportCredentials.
func (memory) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "memory"}
}

// Clone implements credentials.TransportCredentials.
func (m memory) Clone() credentials.TransportCredentials { return m }

// OverrideServerName implements credentials.TransportCredentials.
func (memory) OverrideServerName(string) error { return nil }
