// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"errors"
	"net"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// ReasonConfig is the reason of every fault of [Settings.Validate].
const ReasonConfig = "AUTHSERVER_CONFIG_INVALID"

// Settings are what an operator sets; the tags are those of kit/conf.
type Settings struct {
	Database   obs.Secret    `name:"database" help:"where secrets are kept, encrypted: sqlite:///absolute/path or postgres://user:password@host/database"`
	Vault      VaultSettings `name:"vault"`
	Credential struct {
		Listen string `name:"listen" default:"127.0.0.1:8085" port:"shift" help:"where nodes and control planes connect (mutual TLS); empty is off"`
	} `name:"credential"`
	TLS TLSSettings `name:"tls"`
	Ops struct {
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

// VaultSettings say where the keys are that seal secrets.
type VaultSettings struct {
	Keyset       string `name:"keyset" help:"key file: a Tink keyset in JSON, mode 0600"`
	CreateKeyset bool   `name:"create_keyset" help:"make the key file if it is missing and nothing is stored yet"`
	Rotate       bool   `name:"rotate" help:"add a new primary key to the key file, and end; running processes take it up and seal anew"`
}

// TLSSettings name the certificate of this process and the authorities of its peers.
type TLSSettings struct {
	Cert        string `name:"cert" help:"certificate chain, PEM; its SPIFFE ID has the role authserver"`
	Key         string `name:"key" help:"private key, PEM"`
	CA          string `name:"ca" help:"authorities of nodes and control planes, PEM"`
	TrustDomain string `name:"trust_domain" default:"penstock.internal" help:"SPIFFE trust domain of the deployment"`
}

func (t TLSSettings) files() tlsx.Files { return tlsx.Files{Cert: t.Cert, Key: t.Key, CA: t.CA} }

// Validate returns Invalid, AUTHSERVER_CONFIG_INVALID, with every setting that cannot be used.
func (s *Settings) Validate() error {
	f := fault.New(fault.Invalid, ReasonConfig, "The settings of the authserver cannot be used.")
	if !s.Vault.Rotate && s.Database == "" {
		f = f.At("database", "is empty: set it to sqlite:/// with a path, or to a postgres:// URL")
	}
	if s.Vault.Keyset == "" {
		f = f.At("vault.keyset", "is empty: it names the key file, without which no secret can be kept")
	}
	if !s.Vault.Rotate && s.Credential.Listen != "" {
		for _, file := range []struct{ path, value string }{{"tls.cert", s.TLS.Cert}, {"tls.key", s.TLS.Key}, {"tls.ca", s.TLS.CA}} {
			if file.value == "" {
				f = f.At(file.path, "is empty: credential.listen serves mutual TLS only")
			}
		}
		if s.TLS.TrustDomain == "" {
			f = f.At("tls.trust_domain", "is empty")
		}
	}
	if s.Shutdown.Drain < 0 {
		f = f.At("shutdown.drain", "is negative")
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// Config is what a [Server] needs.
type Config struct {
	Settings
	// Version is the release, for the ops page.
	Version string
	// Telemetry is what the server reports with; required.
	Telemetry *obs.Telemetry
	// CredentialListener and OpsListener, if set, are used in place of the addresses of the settings. The server owns them
	// from New on.
	CredentialListener, OpsListener net.Listener
}

func (c Config) validate() error {
	if c.Telemetry == nil {
		return errors.New("the authserver needs telemetry")
	}
	if c.CredentialListener != nil && c.Credential.Listen == "" {
		c.Credential.Listen = c.CredentialListener.Addr().String() // so that TLS is demanded
	}
	return c.Validate()
}
