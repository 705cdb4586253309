// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// ReasonConfig is the reason of every fault of [Settings.Validate].
const ReasonConfig = "DATAPLANE_CONFIG_INVALID"

// Settings are what an operator sets; the tags are those of kit/conf.
type Settings struct {
	MCP struct {
		Listen        string   `name:"listen" default:"127.0.0.1:8080" port:"shift" help:"where MCP clients connect"`
		URL           string   `name:"url" default:"http://127.0.0.1:8080" port:"shift" help:"origin under which clients reach this node"`
		Origins       []string `name:"origins" help:"web origins, beside url, that may call from a browser"`
		ChatGPTCompat bool     `name:"chatgpt_compat" default:"true" help:"explain a missing token inside the challenge, as ChatGPT wants it"`
	} `name:"mcp"`
	Ops struct {
		Listen string `name:"listen" default:"127.0.0.1:9080" port:"shift" help:"health, readiness, metrics and profiles; empty is off"`
	} `name:"ops"`
	ControlPlane struct {
		Endpoints []string `name:"endpoints" default:"127.0.0.1:8082" port:"shift" help:"control planes to follow, host:port, in order of preference"`
	} `name:"control_plane"`
	Authserver struct {
		URL string `name:"url" default:"https://127.0.0.1:8085" port:"shift" help:"credential API of the authserver (mutual TLS)"`
	} `name:"authserver"`
	Redis      redisx.Settings    `name:"redis"`
	Forward    ForwardSettings    `name:"forward"`
	TLS        TLSSettings        `name:"tls"`
	Enrollment EnrollmentSettings `name:"enrollment"`
	Data       struct {
		Dir string `name:"dir" help:"folder for the last known good configuration and the keys made here"`
	} `name:"data"`
	Revocation struct {
		MaxStale time.Duration `name:"max_stale" default:"24h" help:"how long bearer tokens and those of identity providers count without news from a control plane; 0 refuses tokens of every kind after a minute"`
	} `name:"revocation"`
	SealKeyset obs.Secret `name:"seal_keyset" help:"keys of session ids and cursors, the same on every node: one or two of 32 bytes in base64; empty makes one in the data folder"`
	Upstream   struct {
		AllowLoopback bool `name:"allow_loopback" help:"let MCP servers be on this machine"`
		AllowPrivate  bool `name:"allow_private" help:"let MCP servers be in private networks"`
		MaxProcesses  int  `name:"max_processes" default:"256" help:"most stdio server processes at a time"`
	} `name:"upstream"`
	Egress   EgressSettings `name:"egress"`
	Audit    AuditSettings  `name:"audit"`
	Search   SearchSettings `name:"search"`
	Shutdown struct {
		Grace time.Duration `name:"grace" default:"3s" help:"how long open connections are still served, after the node has stopped accepting new ones"`
		Drain time.Duration `name:"drain" default:"30s" help:"how long calls in flight may take to finish"`
	} `name:"shutdown"`
	Log struct {
		Level  string `name:"level" default:"info" enum:"debug,info,warn,error" help:"least severe level that is logged"`
		Format string `name:"format" default:"json" enum:"json,text" help:"form of the log"`
	} `name:"log"`
	Telemetry struct {
		OTLP string `name:"otlp" help:"where traces and metrics are pushed: host:port (OTLP/gRPC) or a URL (OTLP/HTTP); empty is off"`
	} `name:"telemetry"`
}

// EgressSettings open addresses that the guard on requests to identity providers, and to an embeddings endpoint, would refuse.
type EgressSettings struct {
	Allow         []string `name:"allow" help:"exceptions, host=network: idp.internal=10.1.0.0/16"`
	AllowLoopback bool     `name:"allow_loopback" help:"let identity providers and the embeddings endpoint be on this machine"`
	AllowPrivate  bool     `name:"allow_private" help:"let identity providers and the embeddings endpoint be in private networks"`
}

// policy reads the exceptions; problem says which one cannot be read.
func (e EgressSettings) policy() (p egress.Policy, problem string) {
	p = egress.Policy{AllowLoopback: e.AllowLoopback, AllowPrivate: e.AllowPrivate}
	p.Exceptions, problem = egress.ParseExceptions(e.Allow)
	return p, problem
}

// TLSSettings name the certificate of this process and the authorities of its peers.
type TLSSettings struct {
	Cert        string `name:"cert" help:"certificate chain, PEM; its SPIFFE ID has the role node"`
	Key         string `name:"key" help:"private key, PEM"`
	CA          string `name:"ca" help:"authorities of control planes and authservers, PEM"`
	TrustDomain string `name:"trust_domain" default:"penstock.internal" help:"SPIFFE trust domain of the deployment"`
}

func (t TLSSettings) files() tlsx.Files {
	return tlsx.Files{Cert: t.Cert, Key: t.Key, CA: t.CA, Role: ident.RoleNode}
}

// Config is what a [Node] needs.
type Config struct {
	Settings
	// Version is the release, for clients and the ops page.
	Version string
	// Telemetry is what the node reports with; required.
	Telemetry *obs.Telemetry
	// DialControlPlane and Credentials, if set, are used in place of mutual TLS to reach the control plane and the
	// credential API: they lead there through memory.
	DialControlPlane []grpc.DialOption
	Credentials      *http.Client
}

// validate returns Invalid, DATAPLANE_CONFIG_INVALID, with every setting that cannot be used. It is no method of
// Settings: whether certificates are needed depends on how the peers are reached.
func (c Config) validate() error {
	if c.Telemetry == nil {
		return errors.New("a node needs telemetry")
	}
	f := fault.New(fault.Invalid, ReasonConfig, "The settings of the node cannot be used.")
	if u, err := url.Parse(c.MCP.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || (u.Path != "" && u.Path != "/") {
		f = f.At("mcp.url", "is no origin: set it to something like https://gw.example.com")
	}
	if c.Data.Dir == "" {
		f = f.At("data.dir", "is empty: a node keeps its last known good configuration there")
	}
	if len(c.ControlPlane.Endpoints) == 0 {
		f = f.At("control_plane.endpoints", "is empty: a node follows at least one control plane")
	}
	if (c.DialControlPlane == nil || c.Credentials == nil) && !c.joins() {
		for _, file := range []struct{ path, value string }{{"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}, {"tls.ca", c.TLS.CA}} {
			if file.value == "" {
				f = f.At(file.path, "is empty: control plane and authserver are reached by mutual TLS only; set it, or enrollment.join_token")
			}
		}
	}
	if _, problem := c.Egress.policy(); problem != "" {
		f = f.At("egress.allow", "has "+problem+", which is not host=network, such as idp.internal=10.1.0.0/16")
	}
	f = c.Audit.problems(f)
	f = c.Search.problems(f, c.Egress)
	if c.Revocation.MaxStale < 0 {
		f = f.At("revocation.max_stale", "is negative")
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}
