// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"encoding/json"
	"os"
	"strings"
)

// Files of the data folder that people and programs read (architecture.md section 2).
const (
	adminTokenFile = "admin.token"
	demoTokenFile  = "demo.token"
	demoUserFile   = "demo.user"
	endpointsFile  = "endpoints.json"
	demoGateway    = "demo"
)

// Endpoints is the content of endpoints.json: where everything is served.
type Endpoints struct {
	MCP         string       `json:"mcp"`
	DemoGateway string       `json:"demo_gateway,omitempty"`
	Admin       string       `json:"admin"`
	Authserver  string       `json:"authserver"`
	Ops         OpsEndpoints `json:"ops"`
}

// OpsEndpoints are the ops ports; one that is off is missing.
type OpsEndpoints struct {
	DataPlane    string `json:"dataplane,omitempty"`
	ControlPlane string `json:"controlplane,omitempty"`
	Authserver   string `json:"authserver,omitempty"`
}

// Endpoints returns where everything is served.
func (c Config) Endpoints() Endpoints {
	mcp := strings.TrimSuffix(c.MCP.URL, "/")
	e := Endpoints{
		MCP: mcp + "/v1/mcp/", Admin: origin(c.Admin.Listen), Authserver: c.Auth.URL,
		Ops: OpsEndpoints{
			DataPlane: origin(c.Ops.DataPlane), ControlPlane: origin(c.Ops.ControlPlane), Authserver: origin(c.Ops.Authserver),
		},
	}
	if c.Demo {
		e.DemoGateway = mcp + "/v1/mcp/" + demoGateway
	}
	return e
}

// origin is the URL of what listens on an address, empty if nothing does.
func origin(addr string) string {
	if addr == "" {
		return ""
	}
	return "http://" + addr
}

func (s *Standalone) writeEndpoints() error {
	text, err := json.MarshalIndent(s.c.Endpoints(), "", "  ")
	if err != nil {
		return err
	}
	return write(s.c.path(endpointsFile), append(text, '\n'), 0o644)
}

// write writes a file wholly or not at all.
func write(path string, text []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", text, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// read returns the first line of a file, empty if there is none.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
