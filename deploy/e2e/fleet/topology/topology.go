// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"slices"
	"strings"
)

// Role is a kind of process; its value is the name of the binary.
type Role string

// The kinds of process.
const (
	ControlPlane Role = "controlplane"
	Node         Role = "dataplane"
	Authserver   Role = "authserver"
)

// Fleet is what all processes of a deployment, or of one region of it, share.
type Fleet struct {
	Gateways   string // origin of the balancer before the nodes
	Issuer     string // origin of the balancer before the authservers' public side
	Credential string // https origin of the balancer before the authservers' credential API

	ControlPlanes []string // node streams, host:port, of all control planes
	Database      string   // URL of the control planes' database
	Secrets       string   // URL of the authservers' database
	Redis         string   // URL; empty is none
	SealKeyset    string   // keys of session ids, in base64
	Keyset        string   // file with the authservers' keys
	Approvals     string   // file with the control planes' keys of held calls
	Loopback      bool     // MCP servers and documents may be on this machine
}

// Instance is one process.
type Instance struct {
	Role Role
	Name string
	// Listen has an address for each part of the role: admin, nodes, ops · public, credential, ops · mcp, forward, ops.
	Listen map[string]string
	// Reach is where other nodes reach this one's forward listener; empty is Listen["forward"].
	Reach string
	// Cert, Key and CA are PEM files; the certificate's SPIFFE ID has the name and the role.
	Cert, Key, CA string
	// Data is a folder of the process's own: of a control plane, where the first administrator's token is written.
	Data string
}

// Setting is one setting of a process, by its name in files and flags.
type Setting struct {
	Name, Value string
	Secret      bool // given in the environment, where no list of processes shows it
}

// Settings returns what a process is told, in the order of its flags.
func Settings(f Fleet, i Instance) []Setting {
	var s []Setting
	flag := func(name, value string) { s = append(s, Setting{Name: name, Value: value}) }
	secret := func(name, value string) { s = append(s, Setting{Name: name, Value: value, Secret: true}) }
	endpoints := strings.Join(f.ControlPlanes, ",")
	switch i.Role {
	case ControlPlane:
		secret("database", f.Database)
		flag("admin.listen", i.Listen["admin"])
		flag("nodes.listen", i.Listen["nodes"])
		flag("nodes.drain", "5s") // few nodes need not be spread over half a minute
		flag("authserver.url", f.Credential)
		flag("gateways.url", f.Gateways)
		flag("bootstrap.token_file", i.Data+"/admin.token")
		flag("approvals.keyset", f.Approvals)
		flag("approvals.create_keyset", "true")
	case Authserver:
		secret("database", f.Secrets)
		secret("redis.url", f.Redis)
		flag("vault.keyset", f.Keyset)
		flag("vault.create_keyset", "true")
		flag("public.listen", i.Listen["public"])
		flag("issuer", f.Issuer)
		flag("gateways.url", f.Gateways)
		flag("control_plane.endpoints", endpoints)
		flag("data.dir", i.Data)
		flag("egress.allow_loopback", loopback(f))
		flag("credential.listen", i.Listen["credential"])
	case Node:
		secret("redis.url", f.Redis)
		secret("seal_keyset", f.SealKeyset)
		flag("mcp.listen", i.Listen["mcp"])
		flag("mcp.url", f.Gateways)
		// Behind a balancer, clients keep their connections; one that calls within that time is asked to open another.
		flag("shutdown.grace", "10s")
		flag("forward.listen", i.Listen["forward"])
		flag("forward.address", i.Reach)
		flag("control_plane.endpoints", endpoints)
		flag("authserver.url", f.Credential)
		flag("data.dir", i.Data)
		flag("upstream.allow_loopback", loopback(f))
	}
	flag("tls.cert", i.Cert)
	flag("tls.key", i.Key)
	flag("tls.ca", i.CA)
	flag("ops.listen", i.Listen["ops"])
	return slices.DeleteFunc(s, func(s Setting) bool { return s.Value == "" })
}

func loopback(f Fleet) string {
	if f.Loopback {
		return "true"
	}
	return ""
}

// Flag returns the setting as one argument of the command line.
func (s Setting) Flag() string { return "--" + s.Name + "=" + s.Value }

// Variable returns the name of the setting's environment variable.
func (s Setting) Variable() string {
	return "PENSTOCK_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// Split returns settings as arguments and as environment entries.
func Split(all []Setting) (args, env []string) {
	for _, s := range all {
		if s.Secret {
			env = append(env, s.Variable()+"="+s.Value)
		} else {
			args = append(args, s.Flag())
		}
	}
	return args, env
}

// Known returns the settings that a help text names, and the names of the others.
func Known(all []Setting, help string) (known []Setting, unknown []string) {
	for _, s := range all {
		if strings.Contains(help, "\n  --"+s.Name+" ") || strings.Contains(help, "\n  --"+s.Name+"\n") {
			known = append(known, s)
		} else {
			unknown = append(unknown, s.Name)
		}
	}
	return known, unknown
}
