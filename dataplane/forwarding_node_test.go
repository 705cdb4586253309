// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// TestNodeInAFleet runs a whole node with a Redis: it is known by the name in its certificate while it runs, takes connections
// of nodes only, and is forgotten when it stops.
func TestNodeInAFleet(t *testing.T) {
	redis := redistest.Start(t)
	client := redis.Client(t)
	ca := tlsxtest.NewCA(t, "penstock.internal")
	files := ca.Files(t, ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "n-1"})
	var s Settings
	if _, err := conf.Load(conf.Program{Name: "dataplane", Environ: []string{
		"PENSTOCK_MCP_LISTEN=127.0.0.1:0", "PENSTOCK_OPS_LISTEN=", "PENSTOCK_FORWARD_LISTEN=127.0.0.1:0",
		"PENSTOCK_CONTROL_PLANE_ENDPOINTS=127.0.0.1:1", "PENSTOCK_DATA_DIR=" + t.TempDir(), "PENSTOCK_REDIS_URL=" + redis.URL().Reveal(),
		"PENSTOCK_TLS_CERT=" + files.Cert, "PENSTOCK_TLS_KEY=" + files.Key, "PENSTOCK_TLS_CA=" + files.CA, "PENSTOCK_SEAL_KEYSET=" + seal.Generate(),
	}}, &s); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	n, err := New(Config{Settings: s, Version: "1", Telemetry: &obs.Telemetry{
		Log:    slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Propagator: propagation.TraceContext{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	const key = "pst:{node}:n:n-1"
	var value string
	await(t, func() bool {
		value, _ = client.Get(t.Context(), key).Result()
		return value != ""
	})
	address := strings.Fields(value)[2]
	for role, ok := range map[ident.Role]bool{ident.RoleNode: true, ident.RoleControlPlane: false, ident.RoleAuthserver: false} {
		if err := greet(t, ca, role, address); (err == nil) != ok {
			t.Errorf("a %s connects: %v", role, err)
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Errorf("the node ends with %v\n%s", err, &log)
	}
	if left, err := client.Exists(t.Context(), key).Result(); err != nil || left != 0 {
		t.Errorf("the node is still announced: %d, %v", left, err)
	}
}

// greet makes a TLS connection with the certificate of a role, and sends the beginning of HTTP/2 over it.
func greet(t *testing.T, ca *tlsxtest.CA, role ident.Role, address string) error {
	t.Helper()
	files := ca.Files(t, ident.Workload{Region: "eu", Role: role, Name: "n-2"})
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", address, &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 9)) // the node's settings, or the alert that refuses the certificate
	return err
}

// await waits for what happens by itself.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatal("it does not happen")
		}
	}
}

func TestForwardAddress(t *testing.T) {
	bound := func(text string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tc := range []struct{ name, setting, bound, want string }{
		{"as listened", "", "127.0.0.1:8084", "127.0.0.1:8084"},
		{"given", "node-7.internal:8084", "0.0.0.0:8084", "node-7.internal:8084"},
		{"IPv6", "[2001:db8::1]:8084", "[::]:8084", "[2001:db8::1]:8084"},
		{"all addresses", "", "0.0.0.0:8084", ""},
		{"all addresses, IPv6", "", "[::]:8084", ""},
		{"no port", "node-7.internal", "127.0.0.1:8084", ""},
		{"port 0", "node-7.internal:0", "127.0.0.1:8084", ""},
		{"no host", ":8084", "127.0.0.1:8084", ""},
	} {
		got, err := ForwardSettings{Address: tc.setting}.endpoint(bound(tc.bound))
		if got != tc.want || (err == nil) != (tc.want != "") || err != nil && fault.From(err).Fields[0].Path != "forward.address" {
			t.Errorf("%s: %q, %v", tc.name, got, err)
		}
	}
}
