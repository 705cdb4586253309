// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// shows is a condition that is there only while it is true: something works in another way than the settings alone tell.
func shows(kind, reason, format string, args ...any) resource.Condition {
	return resource.Condition{Type: kind, Status: true, Reason: reason, Message: resource.Clip(fmt.Sprintf(format, args...), 1024)}
}

// headerConditions says which headers of clients do not reach which servers (G-42).
func headerConditions(ctx context.Context, d *desk.Desk, g *resource.Gateway) ([]resource.Condition, error) {
	if len(g.PassthroughHeaders) == 0 {
		return nil, nil
	}
	behind, err := admission.HeadersBehind(ctx, d, g)
	if err != nil {
		return nil, err
	}
	var shadowed, stdio []string
	for _, h := range behind {
		if h.Stdio {
			stdio = appendNew(stdio, h.Server)
		}
		for _, name := range g.PassthroughHeaders {
			switch {
			case slices.Contains(h.Credential, name):
				shadowed = appendNew(shadowed, name+" ("+credentialOf(h)+")")
			case slices.Contains(h.Fixed, name):
				shadowed = appendNew(shadowed, name+" (extra_headers of server "+h.Server+")")
			}
		}
	}
	var list []resource.Condition
	if len(shadowed) > 0 {
		list = append(list, shows(HeaderShadowed, "CredentialWins", "Credentials and fixed headers win over what clients send in these pass-through headers: %s; leave them out of passthrough_headers.", resource.Listed(shadowed)))
	}
	if len(stdio) > 0 {
		list = append(list, shows(StdioWithoutHeaders, "StdioServer", "Pass-through headers reach HTTP servers only; these are processes and get none: %s.", resource.Listed(stdio)))
	}
	return list, nil
}

// credentialOf names whose credential it is.
func credentialOf(h admission.Headers) string {
	if h.Connection == "" {
		return "callers' own connections to server " + h.Server
	}
	return "connection " + h.Connection
}
