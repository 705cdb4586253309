// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
)

// ReasonConfig is the reason of every fault of [Settings.Validate].
const ReasonConfig = "AUTHSERVER_CONFIG_INVALID"

// Settings are what an operator sets; the tags are those of kit/conf.
type Settings struct {
	Database obs.Secret      `name:"database" help:"where grants, logins and secrets are kept: sqlite:///absolute/path or postgres://user:password@host/database"`
	Copy     CopySettings    `name:"copy"`
	Vault    VaultSettings   `name:"vault"`
	Signing  SigningSettings `name:"signing"`
	Audit    AuditSettings   `name:"audit"`
	Public   struct {
		Listen         string   `name:"listen" default:"127.0.0.1:8083" port:"shift" help:"OAuth endpoints, login and consent; TLS is the business of a proxy before it"`
		TrustedProxies []string `name:"trusted_proxies" help:"networks (10.0.0.0/8) of proxies whose X-Forwarded-For is believed; empty is none"`
	} `name:"public"`
	Issuer   string        `name:"issuer" default:"http://127.0.0.1:8083" port:"shift" help:"issuer identifier: the URL under which clients and browsers reach public.listen; it never changes"`
	OAuth    OAuthSettings `name:"oauth"`
	Login    LoginSettings `name:"login"`
	Gateways struct {
		URL string `name:"url" default:"http://127.0.0.1:8080" port:"shift" help:"origin under which clients reach the gateways"`
	} `name:"gateways"`
	ControlPlane struct {
		Endpoints []string `name:"endpoints" default:"127.0.0.1:8082" port:"shift" help:"control planes to follow, host:port, in order of preference"`
	} `name:"control_plane"`
	Redis redisx.Settings `name:"redis"`
	Data  struct {
		Dir string `name:"dir" help:"folder for the last known good directory of users and gateways"`
	} `name:"data"`
	Egress     EgressSettings `name:"egress"`
	Credential struct {
		Listen string `name:"listen" default:"127.0.0.1:8085" port:"shift" help:"where nodes and control planes connect (mutual TLS); empty is off"`
	} `name:"credential"`
	TLS        TLSSettings        `name:"tls"`
	Enrollment EnrollmentSettings `name:"enrollment"`
	Ops        struct {
		Listen string `name:"listen" default:"127.0.0.1:9083" port:"shift" help:"health, readiness, metrics and profiles; empty is off"`
	} `name:"ops"`
	Shutdown struct {
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

// Config is what a [Server] needs.
type Config struct {
	Settings
	// Version is the release, for the ops page.
	Version string
	// Telemetry is what the server reports with; required.
	Telemetry *obs.Telemetry
	// PublicListener, CredentialListener and OpsListener, if set, are used in place of the addresses of the settings. The server owns them
	// from New on.
	PublicListener, CredentialListener, OpsListener net.Listener
	// DialControlPlane, if set, is used in place of mutual TLS to reach the control plane: it leads there through memory.
	// It is called when Run follows the control plane, which may be before that is there.
	DialControlPlane func(ctx context.Context) ([]grpc.DialOption, error)
}

func (c Config) validate() error {
	if c.Telemetry == nil {
		return errors.New("the authserver needs telemetry")
	}
	if c.CredentialListener != nil && c.Credential.Listen == "" {
		c.Credential.Listen = c.CredentialListener.Addr().String() // so that TLS is demanded
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if c.DialControlPlane == nil && !c.Signing.Asked() && !c.joins() {
		if f := c.TLS.validate(fault.New(fault.Invalid, ReasonConfig, "The control plane is reached by mutual TLS only.")); len(f.Fields) > 0 {
			return f
		}
	}
	return nil
}
