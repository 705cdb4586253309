// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// administrator returns a client of the admin API.
func administrator(t *testing.T, s controlplane.Settings) *admin.Client {
	t.Helper()
	token, err := os.ReadFile(s.Bootstrap.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	api, err := admin.New("http://"+s.Admin.Listen, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// The authority is made once, for its owner alone; join tokens are for what can use them; who is banned is shown, connected or
// not, and gets no token any more.
func TestAuthority(t *testing.T) {
	var settings controlplane.Settings
	dir := t.TempDir()
	startLocal(t, func(s *controlplane.Settings) {
		s.Admin.Listen, s.Nodes.Listen = freeAddress(t), freeAddress(t)
		s.Enrollment = controlplane.EnrollmentSettings{
			CACert: filepath.Join(dir, "ca.pem"), CAKey: filepath.Join(dir, "ca.key"), CreateCA: true, Lifetime: time.Hour, Name: "cp-1",
		}
		settings = *s
	})
	for _, name := range []string{"ca.pem", "ca.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != fs.FileMode(0o600) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	api := administrator(t, settings)
	res, err := api.Nodes.CreateJoinToken(t.Context(), &adminv1.CreateJoinTokenRequest{Name: "n1"})
	if err != nil || res.GetSpiffeId() != "spiffe://test/node/n1" || !strings.HasPrefix(res.GetJoinToken(), "pjt_") {
		t.Errorf("a join token: %v, %v", res.GetSpiffeId(), err)
	}
	create := func(role adminv1.WorkloadRole, name string) string {
		_, err := api.Nodes.CreateJoinToken(t.Context(), &adminv1.CreateJoinTokenRequest{Role: role, Name: name})
		return reasonSaid(err)
	}
	if got := create(adminv1.WorkloadRole_WORKLOAD_ROLE_CONTROL_PLANE, "cp-2"); got != "ROLE_JOINS_OTHERWISE" {
		t.Errorf("a control plane: %q", got)
	}
	for range 2 {
		if res, err := api.Nodes.BanWorkload(t.Context(), &adminv1.BanWorkloadRequest{Name: "n1"}); err != nil || res.GetSpiffeId() != "spiffe://test/node/n1" {
			t.Errorf("a ban: %v, %v", res, err)
		}
	}
	if got := create(adminv1.WorkloadRole_WORKLOAD_ROLE_NODE, "n1"); got != "WORKLOAD_BANNED" {
		t.Errorf("a join token for who is banned: %q", got)
	}
	list, err := api.Nodes.ListNodes(t.Context(), &adminv1.ListNodesRequest{})
	if err != nil || len(list.GetNodes()) != 1 || !list.GetNodes()[0].GetBanned() || list.GetNodes()[0].GetConnected() {
		t.Errorf("nodes: %v, %v", list, err)
	}
}

// A ban works without a built-in authority too, as the certificates come from elsewhere; a join token does not.
func TestBanWithoutAuthority(t *testing.T) {
	var settings controlplane.Settings
	p := startLocal(t, func(s *controlplane.Settings) {
		s.Admin.Listen = freeAddress(t)
		settings = *s
	})
	client, at := follow(t, p.Local())
	receive(t, "the node's state", at.kinds)
	api := administrator(t, settings)
	_, err := api.Nodes.CreateJoinToken(t.Context(), &adminv1.CreateJoinTokenRequest{Name: "n1"})
	if got := reasonSaid(err); got != controlplane.ReasonEnrollmentOff {
		t.Errorf("a join token: %q", got)
	}
	if _, err := api.Nodes.BanWorkload(t.Context(), &adminv1.BanWorkloadRequest{Name: "local"}); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for client.Status().Connected {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the stream goes on 5 s after the ban")
		}
	}
}

func reasonSaid(err error) string {
	if e, ok := admin.AsError(err); ok {
		return e.Reason
	}
	return ""
}

// What is wrong with the settings of certificates is said with the setting's name.
func TestCertificateSettings(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		change       func(*controlplane.Settings)
	}{
		{"an authority", "", func(s *controlplane.Settings) { s.Enrollment.CACert, s.Enrollment.CAKey = "/c", "/k" }},
		{"files", "", func(s *controlplane.Settings) { s.TLS.Cert, s.TLS.Key, s.TLS.CA = "/c", "/k", "/a" }},
		{"neither", "tls.cert tls.key tls.ca", func(*controlplane.Settings) {}},
		{"half an authority", "enrollment.ca_key", func(s *controlplane.Settings) { s.Enrollment.CACert = "/c" }},
		{"half of both", "tls.key tls.ca", func(s *controlplane.Settings) {
			s.Enrollment.CACert, s.Enrollment.CAKey, s.TLS.Cert = "/c", "/k", "/c"
		}},
		{"a short life and a bad name", "enrollment.lifetime enrollment.name", func(s *controlplane.Settings) {
			s.Enrollment = controlplane.EnrollmentSettings{CACert: "/c", CAKey: "/k", Lifetime: time.Second, Name: "Not plain"}
		}},
	} {
		s := controlplane.Settings{Database: "sqlite:///x"}
		s.Gateways.URL, s.Nodes.Listen, s.Enrollment.Lifetime = "http://127.0.0.1:8080", "127.0.0.1:8082", time.Hour
		tt.change(&s)
		var fields []string
		if err := s.Validate(); err != nil {
			for _, f := range fault.From(err).Fields {
				fields = append(fields, f.Path)
			}
		}
		if got := strings.Join(fields, " "); got != tt.fields {
			t.Errorf("%s: complains about %q, want %q", tt.name, got, tt.fields)
		}
	}
}
