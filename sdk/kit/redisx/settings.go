// SPDX-License-Identifier: Apache-2.0

package redisx

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ReasonConfig is the reason of settings that cannot be used.
const ReasonConfig = "REDIS_CONFIG_INVALID"

// Settings are what an operator sets; the tags are those of kit/conf.
type Settings struct {
	// URL is redis://[user:password@]host[:port][/database], rediss:// for TLS, or redis+cluster://host:port,host:port and
	// rediss+cluster:// for Redis Cluster. Empty is none.
	URL obs.Secret `name:"url" help:"Redis that the processes share: redis://host:6379, rediss:// for TLS, redis+cluster://host:port,host:port; empty keeps state in memory"`
	CA  string     `name:"ca" help:"authorities of a rediss:// server, PEM; empty takes the system's"`
}

// Enabled reports whether there is a Redis.
func (s Settings) Enabled() bool { return s.URL != "" }

// Validate returns Invalid, REDIS_CONFIG_INVALID, for a URL that cannot be used. It never repeats the URL, which may hold a
// password.
func (s Settings) Validate() error {
	if !s.Enabled() {
		return nil
	}
	_, err := s.parse()
	return err
}

const (
	defaultPort = "6379"
	maxServers  = 64
	maxDatabase = 1<<16 - 1
)

// target is a URL taken apart.
type target struct {
	addrs          []string
	user, password string
	database       int
	cluster        bool
	tls            *tls.Config
}

func invalid(problem string) error {
	return fault.New(fault.Invalid, ReasonConfig, "The settings of Redis cannot be used.").At("url", problem)
}

// parse is not net/url's: a list of IPv6 addresses is no host for it.
func (s Settings) parse() (target, error) {
	var t target
	scheme, rest, found := strings.Cut(s.URL.Reveal(), "://")
	secured := scheme == "rediss" || scheme == "rediss+cluster"
	t.cluster = strings.HasSuffix(scheme, "+cluster")
	switch scheme {
	case "redis", "rediss", "redis+cluster", "rediss+cluster":
	default:
		found = false
	}
	if !found {
		return t, invalid("does not begin with redis://, rediss://, redis+cluster:// or rediss+cluster://")
	}
	if strings.ContainsAny(rest, "?#") {
		return t, invalid("has a query or fragment: options are settings of their own; write ? and # in a password as %3F and %23")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if path != "" {
		n, err := strconv.Atoi(path)
		if err != nil || n < 0 || n > maxDatabase || t.cluster {
			return t, invalid("has a path that is no database number (a cluster has no databases)")
		}
		t.database = n
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		var err error
		if t.user, err = url.PathUnescape(user); err != nil {
			return t, invalid("has a user name with a broken % escape")
		}
		if t.password, err = url.PathUnescape(password); err != nil {
			return t, invalid("has a password with a broken % escape")
		}
		authority = authority[at+1:]
	}
	addrs, err := servers(authority, t.cluster)
	if err != nil {
		return t, err
	}
	t.addrs = addrs
	t.tls, err = s.authorities(secured)
	return t, err
}

func servers(list string, cluster bool) ([]string, error) {
	parts := strings.Split(list, ",")
	if len(parts) > maxServers {
		return nil, invalid("names more than 64 servers")
	}
	if len(parts) > 1 && !cluster {
		return nil, invalid("names several servers: a cluster is written redis+cluster://")
	}
	addrs := make([]string, 0, len(parts))
	for _, part := range parts {
		host, port, err := net.SplitHostPort(part)
		if err != nil { // no port
			host, port = strings.Trim(part, "[]"), defaultPort
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || host == "" || strings.ContainsAny(host, " []@") {
			return nil, invalid("names a server that is not host:port")
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

func (s Settings) authorities(secured bool) (*tls.Config, error) {
	if !secured {
		if s.CA != "" {
			return nil, fault.New(fault.Invalid, ReasonConfig, "The settings of Redis cannot be used.").
				At("ca", "is set, but url is not rediss://: nothing would be verified")
		}
		return nil, nil //nolint:nilnil // plain text
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(s.CA)
	c.RootCAs = x509.NewCertPool()
	if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, ReasonConfig, "The settings of Redis cannot be used.").
			At("ca", "is no readable file of certificates in PEM").Because(err)
	}
	return c, nil
}
