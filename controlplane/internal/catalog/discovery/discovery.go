// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/definition"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Discovery is what a node learned from a server.
type Discovery struct {
	ProtocolVersion string
	ServerInfo      []byte // raw JSON object
	Capabilities    []byte // raw JSON object
	Instructions    string
	Tools           [][]byte // raw JSON objects of tools/list
	Prompts         [][]byte // raw JSON objects of prompts/list
	Templates       [][]byte // raw JSON objects of resources/templates/list
	Authorities     []string // of resources, templates and apps, sorted (M-66)
	Missing         []string // "prompts", "resources", "templates": declared, but not given
	SSE             bool     // the URL speaks HTTP+SSE only
}

// Outcome names the tools, "<server>/<upstream name>", that a discovery found different.
type Outcome struct {
	Added, Changed, Removed []string
	Revision                record.Revision
}

// Found is a discovery whose definitions are read.
type Found struct {
	Discovery

	// Left says which definitions cannot be used, and why.
	Left []string

	tools     map[string]definition.Definition
	prompts   []resource.ListedPrompt
	templates []resource.ListedTemplate
}

// Read reads the definitions of a discovery; the first of two with one name counts.
func Read(d Discovery) Found {
	out := Found{Discovery: d, tools: make(map[string]definition.Definition, len(d.Tools))}
	for i, raw := range d.Tools {
		def, err := definition.Parse(raw)
		switch {
		case err != nil:
			out.Left = append(out.Left, fmt.Sprintf("number %d: %v", i+1, err))
		case out.tools[def.Name].Raw != nil:
			out.Left = append(out.Left, fmt.Sprintf("number %d: %q is there already", i+1, def.Name))
		default:
			out.tools[def.Name] = def
		}
	}
	out.readLists()
	return out
}

// Record stores what was found. New tools are known from then on and on no gateway. A changed definition waits to be
// accepted, or is accepted at once, as the server's tool_changes says (G-16). Tools that are gone are marked REMOVED and
// stay where they are assigned. What did not change is not written (D-5).
func Record(ctx context.Context, d *desk.Draft, server string, found Found) (Outcome, error) {
	s, err := desk.Find[*resource.Server](ctx, d.Desk, resource.KindServer, server)
	if err != nil {
		return Outcome{}, err
	}
	if s == nil {
		return Outcome{}, desk.NotFound(resource.KindServer, server)
	}
	var out Outcome
	if err := recordKnown(ctx, d, s, found.tools, &out); err != nil {
		return Outcome{}, err
	}
	if err := recordNew(ctx, d, s, found.tools, &out); err != nil {
		return Outcome{}, err
	}
	return out, recordServer(ctx, d, s, found)
}

// recordServer keeps in the server what nodes need to know of it.
func recordServer(ctx context.Context, d *desk.Draft, s *resource.Server, found Found) error {
	next := *s
	next.Status = &resource.ServerStatus{
		ProtocolVersion: resource.Clip(found.ProtocolVersion, 32), ServerInfo: serverInfo(found.ServerInfo), Tools: uint32(len(found.tools)),
		Capabilities: capabilities(found.Capabilities), Prompts: found.prompts, Templates: found.templates,
		ResourceAuthorities: found.Authorities, SSE: found.SSE && s.StreamableHTTP != nil,
	}
	keep(s.Status, next.Status, found.Missing)
	instruct(s, next.Status, found.Instructions)
	return d.Put(ctx, &next, s.UID, "")
}

// serverInfo is "<name>/<version>" of what a server told about itself.
func serverInfo(raw []byte) string {
	var info struct{ Name, Version string }
	if json.Unmarshal(raw, &info) != nil { // it is only for people to read
		return ""
	}
	if info.Version != "" {
		info.Name += "/" + info.Version
	}
	return resource.Clip(info.Name, 512)
}

// recordKnown compares the tools that were known with what was found.
func recordKnown(ctx context.Context, d *desk.Draft, s *resource.Server, tools map[string]definition.Definition, out *Outcome) error {
	known, err := desk.Under[*resource.Tool](ctx, d.Desk, resource.KindTool, s.Name+"/")
	if err != nil {
		return err
	}
	for _, old := range known {
		next := *old
		def, there := tools[old.UpstreamName]
		switch {
		case !there:
			next.State, next.PendingBodyHash, next.Held = resource.ToolRemoved, "", false
			if old.State != resource.ToolRemoved {
				out.Removed = append(out.Removed, old.Name)
			}
		case def.Hash == old.DefinitionHash:
			next.State, next.PendingBodyHash, next.Held = resource.ToolActive, "", false
		default:
			if err := change(ctx, d, s, &next, def); err != nil {
				return err
			}
			out.Changed = append(out.Changed, old.Name)
		}
		if err := d.Put(ctx, &next, old.UID, ""); err != nil {
			return err
		}
	}
	return nil
}

// recordNew stores the tools that were not known.
func recordNew(ctx context.Context, d *desk.Draft, s *resource.Server, tools map[string]definition.Definition, out *Outcome) error {
	for name, def := range tools {
		t := &resource.Tool{Meta: resource.Meta{Name: s.Name + "/" + name}, Server: s.Name, UpstreamName: name}
		old, err := desk.Find[*resource.Tool](ctx, d.Desk, resource.KindTool, t.Name)
		if err != nil {
			return err
		}
		if old != nil {
			continue
		}
		if err := accept(ctx, d, t, def); err != nil {
			return err
		}
		if err := d.Put(ctx, t, uuid.NewString(), ""); err != nil {
			return err
		}
		out.Added = append(out.Added, t.Name)
	}
	slices.Sort(out.Added)
	return nil
}

// change treats a definition that differs from the accepted one as the server's tool_changes says.
func change(ctx context.Context, d *desk.Draft, s *resource.Server, t *resource.Tool, def definition.Definition) error {
	if s.ToolChanges == resource.ToolChangesAccept {
		return accept(ctx, d, t, def)
	}
	hash, err := d.Tx.PutBlob(ctx, def.Raw)
	if err != nil {
		return err
	}
	t.State, t.PendingBodyHash, t.Held = resource.ToolChanged, hex.EncodeToString(hash[:]), s.ToolChanges == resource.ToolChangesHold
	return nil
}

// accept makes a definition the accepted one.
func accept(ctx context.Context, d *desk.Draft, t *resource.Tool, def definition.Definition) error {
	hash, err := d.Tx.PutBlob(ctx, def.Raw)
	if err != nil {
		return err
	}
	t.State, t.PendingBodyHash, t.Held = resource.ToolActive, "", false
	t.DefinitionHash, t.BodyHash, t.Retryable = def.Hash, hex.EncodeToString(hash[:]), def.Retryable
	return nil
}

// Hold applies a server's new tool_changes to the changes that wait.
func Hold(ctx context.Context, d *desk.Draft, s *resource.Server) error {
	tools, err := desk.Under[*resource.Tool](ctx, d.Desk, resource.KindTool, s.Name+"/")
	if err != nil {
		return err
	}
	for _, old := range tools {
		if old.State != resource.ToolChanged {
			continue
		}
		next := *old
		next.Held = s.ToolChanges == resource.ToolChangesHold
		if err := d.Put(ctx, &next, old.UID, ""); err != nil {
			return err
		}
	}
	return nil
}
