// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// ReasonConfig is the reason of every fault of [Settings.Validate].
const ReasonConfig = "CONTROLPLANE_CONFIG_INVALID"

// Settings are what an operator sets; the tags are those of kit/conf.
type Settings struct {
	Database obs.Secret `name:"database" help:"where the configuration is kept: sqlite:///absolute/path or postgres://user:password@host/database"`
	Admin    struct {
		Listen  string   `name:"listen" default:"127.0.0.1:8081" port:"shift" help:"admin API: gRPC, gRPC-Web and Connect"`
		Origins []string `name:"origins" help:"web origins that may call the admin API from a browser; empty is none"`
	} `name:"admin"`
	Nodes struct {
		Listen    string        `name:"listen" default:"127.0.0.1:8082" port:"shift" help:"node stream (mutual TLS); empty is off"`
		Advertise string        `name:"advertise" help:"host:port at which nodes and the other control planes reach this one's node stream; empty is nodes.listen, with the host name where that listens everywhere"`
		Drain     time.Duration `name:"drain" default:"30s" help:"over how long the nodes go to other control planes when this one stops; at once if there is none"`
		MaxAge    time.Duration `name:"max_age" default:"30m" help:"how long a node stays, give or take a fifth, before it is asked to go where there is most room"`
		HelloRate uint          `name:"hello_rate" help:"how many nodes may begin a second; more are asked to come back; 0 is 200 for each core"`
	} `name:"nodes"`
	Authserver struct {
		URL string `name:"url" default:"https://127.0.0.1:8085" port:"shift" help:"credential API of the authserver (mutual TLS)"`
	} `name:"authserver"`
	Gateways struct {
		URL string `name:"url" default:"http://127.0.0.1:8080" port:"shift" help:"origin under which clients reach the gateways"`
	} `name:"gateways"`
	TLS        TLSSettings        `name:"tls"`
	Enrollment EnrollmentSettings `name:"enrollment"`
	Approvals  ApprovalSettings   `name:"approvals"`
	Ops        struct {
		Listen string `name:"listen" default:"127.0.0.1:9081" port:"shift" help:"health, readiness, metrics and profiles; empty is off"`
	} `name:"ops"`
	Bootstrap struct {
		Email     string `name:"email" default:"admin@penstock.local" help:"e-mail address of the first administrator"`
		TokenFile string `name:"token_file" help:"file, mode 0600, that gets the first administrator's token; empty makes none"`
	} `name:"bootstrap"`
	Copy  CopySettings `name:"copy"`
	Epoch struct {
		New string `name:"new" help:"accept that the database lost revisions in a restore: give its present revision; makes a new epoch of the log, which nodes then take as a whole, and exits"`
	} `name:"epoch"`
	Shutdown struct {
		Drain time.Duration `name:"drain" default:"10s" help:"how long calls in flight may take to finish"`
	} `name:"shutdown"`
	Log struct {
		Level  string `name:"level" default:"info" enum:"debug,info,warn,error" help:"least severe level that is logged"`
		Format string `name:"format" default:"json" enum:"json,text" help:"form of the log"`
	} `name:"log"`
	Telemetry struct {
		OTLP string `name:"otlp" help:"where traces and metrics are pushed: host:port (OTLP/gRPC) or a URL (OTLP/HTTP); empty is off"`
	} `name:"telemetry"`
}

// TLSSettings name the certificate of this process and the authorities of its peers.
type TLSSettings struct {
	Cert        string `name:"cert" help:"certificate chain, PEM; its SPIFFE ID has the role controlplane"`
	Key         string `name:"key" help:"private key, PEM"`
	CA          string `name:"ca" help:"authorities of nodes and authservers, PEM"`
	TrustDomain string `name:"trust_domain" default:"penstock.internal" help:"SPIFFE trust domain of the deployment"`
}

func (t TLSSettings) files() tlsx.Files {
	return tlsx.Files{Cert: t.Cert, Key: t.Key, CA: t.CA, Role: ident.RoleControlPlane}
}

// Validate returns Invalid, CONTROLPLANE_CONFIG_INVALID, with every setting that cannot be used.
func (s *Settings) Validate() error {
	f := fault.New(fault.Invalid, ReasonConfig, "The settings of the control plane cannot be used.")
	if s.Database == "" {
		f = f.At("database", "is empty: set it to sqlite:/// with a path, or to a postgres:// URL")
	}
	if s.Copy.To != "" {
		if len(f.Fields) > 0 {
			return f
		}
		return nil // nothing else is used
	}
	if u, err := url.Parse(s.Gateways.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || (u.Path != "" && u.Path != "/") {
		f = f.At("gateways.url", "is no origin: set it to something like https://gw.example.com")
	}
	if s.Nodes.Advertise != "" {
		if host, port, err := net.SplitHostPort(s.Nodes.Advertise); err != nil || host == "" || port == "" || port == "0" {
			f = f.At("nodes.advertise", "is not host:port")
		}
	}
	if _, err := strconv.ParseUint(s.Epoch.New, 10, 63); err != nil && s.Epoch.New != "" {
		f = f.At("epoch.new", "is no revision")
	}
	if s.Nodes.Drain < 0 || s.Nodes.MaxAge < 0 {
		f = f.At("nodes", "has a negative duration")
	}
	f = s.Approvals.problems(f)
	f = s.certificateProblems(f)
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// Config is what a [ControlPlane] needs.
type Config struct {
	Settings
	// Version is the release, for the ops page.
	Version string
	// Telemetry is what the control plane reports with; required.
	Telemetry *obs.Telemetry
	// Credentials, if set, is used in place of mutual TLS to reach the credential API at Authserver.URL.
	Credentials *http.Client
}

func (c Config) validate() error {
	if c.Telemetry == nil {
		return errors.New("the control plane needs telemetry")
	}
	return c.Validate()
}
