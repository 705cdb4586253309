// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/penstockhq/penstock/authserver"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// KM-7, D-85, D-81: over mutual TLS, a node gets the credentials of the gateways of its region, until it is banned; and every
// refusal is in the audit log.
func TestRelease(t *testing.T) {
	h := newHouse(t)
	ca := tlsxtest.NewCA(t, trustDomain)
	issue := func(w ident.Workload) tlsx.Files {
		return ca.Issue(t, filepath.Join(h.dir, string(w.Role)+w.Region+w.Name), w)
	}
	p := &plane{bans: make(chan string), resources: []*distributionv1.Resource{
		connectionOf("eu-secret", "c-eu"), connectionOf("shared", "c-all"), connectionOf("unused", "c-none"),
		ownConnection("adas", "c-ada", "ada@example.com"), ownConnection("eves", "c-eve", "eve@example.com"), ownConnection("nobodys", "c-nobody", "x@example.com"),
		userOf("ada@example.com", "u-ada", false), userOf("eve@example.com", "u-eve", true),
		gatewayIn("eu-only", "eu"), gatewayIn("everywhere"), pinOf("eu-only", "s/t", "eu-secret"), pinOf("everywhere", "s/t", "shared"),
	}}
	c := h.config(t)
	own := issue(ident.Workload{Role: ident.RoleAuthserver, Name: "as-1"})
	c.TLS = authserver.TLSSettings{Cert: own.Cert, Key: own.Key, CA: own.CA, TrustDomain: trustDomain}
	c.CredentialListener, c.DialControlPlane = listener(t), p.dial(t)
	s, stop := start(t, c)
	client := func(w ident.Workload) credentialv1connect.CredentialServiceClient {
		config, err := tlsx.Client(issue(w), trustDomain, ident.RoleAuthserver)
		must(t, err)
		return overTLS(t, config, c.CredentialListener.Addr().String())
	}
	versions := map[string]string{}
	for _, uid := range []string{"c-eu", "c-all", "c-none", "c-ada", "c-eve", "c-nobody"} {
		r, err := local(s, ident.RoleControlPlane).PutSecret(t.Context(), &credentialv1.PutSecretRequest{
			ConnectionUid: uid, Secret: &credentialv1.StaticSecret{Headers: map[string]string{"Authorization": canary}},
		})
		must(t, err)
		versions[uid] = r.GetVersion()
	}
	ask := func(c credentialv1connect.CredentialServiceClient, uid, user string) error {
		m := &credentialv1.ResolveRequest{ConnectionUid: uid, Version: versions[uid]}
		if m.Version == "" {
			m.Version = "v_1"
		}
		if user != "" {
			m.Principal = &credentialv1.ResolvePrincipal{Kind: "user", Uid: user}
		}
		r, err := c.Resolve(t.Context(), m)
		if got := r.GetSecret().GetHeaders()["Authorization"]; (got == canary) != (err == nil) {
			t.Errorf("%s: %q with %v", uid, got, err)
		}
		return err
	}
	eu := client(ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "n1"})
	us := client(ident.Workload{Region: "us", Role: ident.RoleNode, Name: "n1"})
	anywhere := client(ident.Workload{Role: ident.RoleNode, Name: "n1"})
	for _, tt := range []struct {
		name   string
		client credentialv1connect.CredentialServiceClient
		uid    string
		user   string
		reason string
	}{
		{"its region", eu, "c-eu", "", ""},
		{"a gateway of all regions", eu, "c-all", "", ""},
		{"no gateway uses it", us, "c-none", "", ""},
		{"another region", us, "c-eu", "", authserver.ReasonOutOfScope},
		{"another region, a gateway of all", us, "c-all", "", ""},
		{"a node without a region", anywhere, "c-eu", "", ""},
		{"no connection", anywhere, "c-gone", "", authserver.ReasonOutOfScope},
		{"nobody's user", eu, "c-eu", "u-gone", authserver.ReasonPrincipal},
		{"a person's own", eu, "c-ada", "u-ada", ""},
		{"a person's own, for a discovery", eu, "c-ada", "", ""},
		{"of somebody deactivated", eu, "c-eve", "u-eve", authserver.ReasonPrincipal},
		{"of somebody deactivated, for a discovery", eu, "c-eve", "", authserver.ReasonPrincipal},
		{"of somebody who is gone, for a discovery", eu, "c-nobody", "", authserver.ReasonPrincipal},
	} {
		if got := reason(ask(tt.client, tt.uid, tt.user)); got != tt.reason {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.reason)
		}
	}
	began := time.Now()
	p.bans <- "spiffe://" + trustDomain + "/region/eu/node/n1"
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if got := reason(ask(eu, "c-eu", "")); got == "WORKLOAD_BANNED" {
			tick.Stop()
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("not banned within 5 s (D-81)")
		}
	}
	t.Logf("banned at the authserver after %s", time.Since(began).Round(time.Millisecond))
	must(t, ask(us, "c-all", "")) // one of the same name elsewhere
	stop()

	// The ban is on disk: a restart without a control plane knows it.
	c = h.config(t)
	c.TLS = authserver.TLSSettings{Cert: own.Cert, Key: own.Key, CA: own.CA, TrustDomain: trustDomain}
	c.CredentialListener, c.DialControlPlane = listener(t), unreachable
	start(t, c)
	eu = client(ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "n1"})
	anywhere = client(ident.Workload{Role: ident.RoleNode, Name: "n1"})
	must(t, ask(anywhere, "c-eu", "")) // the directory is there, and the bans before it
	if got := reason(ask(eu, "c-eu", "")); got != "WORKLOAD_BANNED" {
		t.Errorf("after a restart: %q", got)
	}
	var audit strings.Builder
	must(t, authserver.ExportAudit(t.Context(), c.Settings, &audit))
	for _, want := range []string{
		`"actor":"spiffe://` + trustDomain + `/region/us/node/n1","action":"access.denied","target":"c-eu","result":"refused","reason":"CONNECTION_OUT_OF_SCOPE"`,
		`"reason":"WORKLOAD_BANNED"`, `"reason":"PRINCIPAL_UNKNOWN"`,
	} {
		if !strings.Contains(audit.String(), want) {
			t.Errorf("the audit log lacks %s:\n%s", want, audit.String())
		}
	}
}

// reason returns the reason of an error, empty without one.
func reason(err error) string {
	if err == nil {
		return ""
	}
	ce := new(connect.Error)
	if !errors.As(err, &ce) {
		return err.Error()
	}
	for _, d := range ce.Details() {
		if m, err := d.Value(); err == nil {
			if f := fault.FromDetails(fault.Denied, "", m); f.Reason != "" {
				return f.Reason
			}
		}
	}
	return ce.Error()
}

// unreachable leads to a control plane that is not there.
func unreachable(context.Context) ([]grpc.DialOption, error) {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") }),
	}, nil
}
