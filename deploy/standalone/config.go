// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Settings are what a person sets; the tags are those of kit/conf. PENSTOCK_DATA_DIR is data_dir.
type Settings struct {
	DataDir string `name:"data_dir" default:".penstock" help:"folder of everything that is kept"`
	Demo    bool   `name:"demo" help:"start a small MCP server and put it behind a gateway called demo"`
	MCP     struct {
		Listen  string   `name:"listen" default:"127.0.0.1:8080" port:"shift" help:"where MCP clients connect"`
		URL     string   `name:"url" default:"http://127.0.0.1:8080" port:"shift" help:"origin under which clients reach the gateways"`
		Origins []string `name:"origins" help:"web origins, beside url, that may call from a browser"`
	} `name:"mcp"`
	Admin struct {
		Listen string `name:"listen" default:"127.0.0.1:8081" port:"shift" help:"admin API: gRPC, gRPC-Web and Connect"`
	} `name:"admin"`
	Auth struct {
		Listen         string   `name:"listen" default:"127.0.0.1:8083" port:"shift" help:"where people log in and clients get their tokens"`
		URL            string   `name:"url" default:"http://127.0.0.1:8083" port:"shift" help:"issuer identifier: the URL under which clients and browsers reach auth.listen; it never changes"`
		TrustedProxies []string `name:"trusted_proxies" help:"networks (10.0.0.0/8) of proxies whose X-Forwarded-For is believed; empty is none"`
	} `name:"auth"`
	OAuth  authserver.OAuthSettings  `name:"oauth"`
	Egress authserver.EgressSettings `name:"egress"`
	Search dataplane.SearchSettings  `name:"search"`

	Approvals controlplane.ApprovalSettings `name:"approvals"`
	Ops       struct {
		DataPlane    string `name:"dataplane" default:"127.0.0.1:9080" port:"shift" help:"health and metrics of the node"`
		ControlPlane string `name:"controlplane" default:"127.0.0.1:9081" port:"shift" help:"health and metrics of the control plane"`
		Authserver   string `name:"authserver" default:"127.0.0.1:9083" port:"shift" help:"health and metrics of the authserver"`
	} `name:"ops"`
	Upstream struct {
		AllowLoopback bool `name:"allow_loopback" default:"true" help:"let MCP servers be on this machine"`
		AllowPrivate  bool `name:"allow_private" default:"true" help:"let MCP servers be in private networks"`
	} `name:"upstream"`
	Log struct {
		Level  string `name:"level" default:"warn" enum:"debug,info,warn,error" help:"least severe level that is logged"`
		Format string `name:"format" default:"text" enum:"json,text" help:"form of the log"`
	} `name:"log"`
	Telemetry struct {
		OTLP string `name:"otlp" help:"where traces and metrics are pushed: host:port (OTLP/gRPC) or a URL (OTLP/HTTP); empty is off"`
	} `name:"telemetry"`
}

// Config is what a [Standalone] needs.
type Config struct {
	Settings
	// Version is the release.
	Version string
	// Telemetry is what all parts report with; required.
	Telemetry *obs.Telemetry
}

// adminEmail is the first administrator.
const adminEmail = "admin@penstock.local"

// shutdown bounds how long each part finishes its calls: one person waits for it.
const shutdown = 5 * time.Second

func (c Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.DataDir}, parts...)...)
}

// parts are the three servers.
type parts struct {
	authserver   *authserver.Server
	controlplane *controlplane.ControlPlane
	node         *dataplane.Node
}

// absolute makes the data folder's path absolute: SQLite URLs need it, and people find it.
func (c *Config) absolute() error {
	if c.Telemetry == nil {
		return errors.New("standalone needs telemetry")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return err
	}
	c.DataDir = dir
	return nil
}

func (c Config) authserver() authserver.Config {
	var s authserver.Settings
	s.Database = obs.Secret("sqlite://" + filepath.ToSlash(c.path("authserver.db")))
	s.Vault.Keyset, s.Vault.CreateKeyset = c.path("vault.keyset"), true
	s.Ops.Listen = c.Ops.Authserver
	s.Public.Listen, s.Public.TrustedProxies, s.Issuer, s.Gateways.URL = c.Auth.Listen, c.Auth.TrustedProxies, c.Auth.URL, c.MCP.URL
	s.OAuth, s.Egress = c.OAuth, c.Egress
	s.Login.LocalUsers = true
	s.ControlPlane.Endpoints = []string{controlplane.LocalEndpoint}
	s.Data.Dir = c.path("authserver")
	s.Shutdown.Drain = shutdown
	return authserver.Config{Settings: s, Version: c.Version, Telemetry: c.Telemetry}
}

func (c Config) controlplane() controlplane.Config {
	var s controlplane.Settings
	s.Database = obs.Secret("sqlite://" + filepath.ToSlash(c.path("controlplane.db")))
	s.Admin.Listen, s.Ops.Listen = c.Admin.Listen, c.Ops.ControlPlane
	s.Authserver.URL, s.Gateways.URL = authserver.LocalURL, c.MCP.URL
	s.Bootstrap.Email, s.Bootstrap.TokenFile = adminEmail, c.path(adminTokenFile)
	if s.Shutdown.Drain, s.Approvals = shutdown, c.Approvals; s.Approvals.Keyset == "" {
		s.Approvals.Keyset, s.Approvals.CreateKeyset = c.path("approvals.keyset"), true
	}
	return controlplane.Config{Settings: s, Version: c.Version, Telemetry: c.Telemetry}
}

// RotateApprovalKeyset adds a new primary key to the key file that seals the arguments of held calls.
func RotateApprovalKeyset(s Settings) error {
	return controlplane.RotateApprovalKeyset(Config{Settings: s}.controlplane().Settings)
}

func (c Config) node() dataplane.Config {
	var s dataplane.Settings
	s.MCP.Listen, s.MCP.URL, s.MCP.Origins, s.MCP.ChatGPTCompat = c.MCP.Listen, c.MCP.URL, c.MCP.Origins, true
	s.Ops.Listen = c.Ops.DataPlane
	s.ControlPlane.Endpoints = []string{controlplane.LocalEndpoint}
	s.Authserver.URL = authserver.LocalURL
	s.Data.Dir = c.path("dataplane")
	s.Upstream.AllowLoopback, s.Upstream.AllowPrivate = c.Upstream.AllowLoopback, c.Upstream.AllowPrivate
	s.Egress = dataplane.EgressSettings(c.Egress)
	s.Search = c.Search
	s.Upstream.MaxProcesses = maxProcesses
	s.Revocation.MaxStale = maxStale
	s.Shutdown.Drain = shutdown
	return dataplane.Config{Settings: s, Version: c.Version, Telemetry: c.Telemetry}
}

const (
	// maxProcesses bounds the stdio servers of one machine.
	maxProcesses = 64
	// maxStale is how long tokens count without news of revocations (RS-12); in one process there is always news.
	maxStale = 24 * time.Hour
)
