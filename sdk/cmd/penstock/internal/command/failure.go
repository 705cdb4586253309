// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"strings"

	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	switch {
	case admin.IsNotFound(err):
		return exitNotFound
	case admin.IsDenied(err), admin.IsUnauthenticated(err), errors.Is(err, errNoToken):
		return exitDenied
	case admin.IsConflict(err), admin.IsAlreadyExists(err):
		return exitConflict
	default:
		return exitFailure
	}
}

// explain returns what to print for an error: what went wrong, and what to do about it where that is known.
func explain(err error) string {
	if _, ok := errors.AsType[usageError](err); ok {
		return err.Error() + " (see penstock --help)"
	}
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	text := err.Error()
	e, ok := admin.AsError(err)
	if !ok {
		return text
	}
	switch {
	case admin.IsUnauthenticated(err):
		text += " (the token is wrong, expired or revoked: check PENSTOCK_TOKEN or token_file)"
	case admin.IsUnavailable(err) && e.Reason == "":
		text = "cannot reach the admin API: " + text + " (is the control plane running? check PENSTOCK_ADDR or --addr)"
	case admin.IsConflict(err) && e.Reason == "ETAG_STALE":
		text += " (somebody changed it meanwhile: get it again and repeat)"
	case e.Code == "internal" && e.RequestID != "":
		text += " (request " + e.RequestID + " in the control plane's log)"
	}
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, show.Safe(strings.TrimSuffix(line, "\n")))
	}
	return strings.Join(lines, "\n")
}
