// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/definition"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonCredentialMissing (Precondition): a discovery needs a connection with a credential and there is none.
	ReasonCredentialMissing = "CREDENTIAL_MISSING"
	// ReasonNeedsPerson (Precondition): a discovery needs a person's own connection, because the server is called as the person who
	// calls, and there is none.
	ReasonNeedsPerson = "DISCOVERY_NEEDS_PERSON"
	// ReasonNothingPending (Precondition): no changed definition, or no changed instructions, wait to be accepted.
	ReasonNothingPending = "NO_PENDING_DEFINITION"
	// ReasonPendingChanged (Conflict): another definition waits, or other instructions, than what was reviewed.
	ReasonPendingChanged = "PENDING_DEFINITION_CHANGED"
)

// Accept makes the definition that waits the accepted one, if it is the one that was reviewed: pendingHash is its SHA-256
// in hexadecimal.
func Accept(ctx context.Context, d *desk.Draft, name, pendingHash string) error {
	t, err := desk.See[*resource.Tool](ctx, d.Desk, resource.KindTool, name)
	if err != nil {
		return err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	server, err := desk.Find[*resource.Server](ctx, d.Desk, resource.KindServer, t.Server)
	if err != nil {
		return err
	}
	if server == nil {
		return desk.NotFound(resource.KindServer, t.Server)
	}
	if err := who.Manages(server); err != nil {
		return err
	}
	switch t.PendingBodyHash {
	case "":
		return fault.Newf(fault.Precondition, ReasonNothingPending, "No changed definition of the tool %q waits to be accepted.", name)
	case strings.ToLower(pendingHash):
	default:
		return fault.Newf(fault.Conflict, ReasonPendingChanged, "Another definition of the tool %q waits than the one you reviewed; read the tool again.", name)
	}
	if err := d.Definitions(ctx, t); err != nil {
		return err
	}
	def, err := definition.Parse(t.PendingDefinition)
	if err != nil {
		return fmt.Errorf("read pending definition of tool %s: %w", name, err)
	}
	if err := accept(ctx, d, t, def); err != nil {
		return err
	}
	return d.Put(ctx, t, t.UID, "")
}

// AcceptInstructions makes the instructions of a server that wait the accepted ones, if they are those that were
// reviewed: pendingHash is their SHA-256 in hexadecimal.
func AcceptInstructions(ctx context.Context, d *desk.Draft, name, pendingHash string) error {
	s, err := desk.See[*resource.Server](ctx, d.Desk, resource.KindServer, name)
	if err != nil {
		return err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	if err := who.Manages(s); err != nil {
		return err
	}
	switch {
	case s.Status == nil || s.Status.PendingInstructionsHash == "":
		return fault.Newf(fault.Precondition, ReasonNothingPending, "No changed instructions of the server %q wait to be accepted.", name)
	case s.Status.PendingInstructionsHash != strings.ToLower(pendingHash):
		return fault.Newf(fault.Conflict, ReasonPendingChanged, "Other instructions of the server %q wait than those you reviewed; read the server again.", name)
	}
	s.Status.Instructions = s.Status.PendingInstructions
	s.Status.PendingInstructions, s.Status.PendingInstructionsHash = "", ""
	return d.Put(ctx, s, s.UID, "")
}
