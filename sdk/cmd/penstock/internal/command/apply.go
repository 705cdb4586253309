// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// applyCommand is penstock apply.
type applyCommand struct {
	File     []string `short:"f" required:"" sep:"none" placeholder:"PATH" help:"Manifest, directory of manifests, or - for standard input; repeatable."`
	Prune    bool     `help:"Delete servers, connections, gateways, teams, users, identity providers and OAuth clients that no manifest describes."`
	DryRun   bool     `help:"Check everything and show the difference; store nothing."`
	Discover bool     `help:"Discover servers whose tools are not known yet before gateways get them; that is a revision of its own."`
	Staged   bool     `help:"Let one node have it first, then a tenth of them, then all; stop if one rejects it. Shows the progress."`
	Wait     bool     `help:"Wait until every node enforces the new revision."`
}

// Run implements the command.
func (c *applyCommand) Run(ctx context.Context, r *run) error {
	sources, err := manifest.Read(c.File, r.Stdin)
	if err != nil {
		return err
	}
	set, err := manifest.Load(sources, manifest.Secrets{LookupEnv: r.Environment.LookupEnv, ReadFile: r.ReadFile})
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	var before *adminv1.ApplyResponse // what was applied for the sake of discovery; nil: nothing
	if c.Discover {
		var done bool
		if before, done, err = c.discover(ctx, r, client, set); done || err != nil {
			return err
		}
	}
	res, err := client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources, Prune: c.Prune, ValidateOnly: c.DryRun, Staged: c.Staged})
	if err != nil {
		if e, ok := admin.AsError(err); ok && e.Reason == "UNKNOWN_TOOL" && !c.Discover {
			r.note("with --discover, apply discovers such servers first")
		}
		return placed(err, set)
	}
	together(before, res)
	if err := c.report(r, res); err != nil {
		return err
	}
	if c.Staged && !c.DryRun {
		if err := followRollout(ctx, r, client, res.GetRevision()); err != nil {
			return err
		}
	}
	if c.Wait && !c.DryRun {
		return waitFor(ctx, r, client, res.GetRevision(), 30*time.Second)
	}
	return nil
}

// together has the last answer say what both transactions of a discovering apply did: to the person they are one.
func together(before, last *adminv1.ApplyResponse) {
	first := make(map[string]*adminv1.AppliedResource)
	for _, a := range before.GetResources() {
		first[a.GetKind()+" "+a.GetName()] = a
	}
	for _, a := range last.GetResources() {
		if was := first[a.GetKind()+" "+a.GetName()]; was != nil && was.GetAction() != "unchanged" {
			a.Action, a.ChangedFields = was.GetAction(), was.GetChangedFields()
		}
	}
}

// report writes what changed.
func (c *applyCommand) report(r *run, res *adminv1.ApplyResponse) error {
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	count := map[string]int{}
	for _, a := range res.GetResources() {
		count[a.GetAction()]++
		if a.GetAction() == "unchanged" {
			continue
		}
		line := fmt.Sprintf("%s %s %s", a.GetKind(), a.GetName(), a.GetAction())
		if a.GetAction() == "updated" && len(a.GetChangedFields()) > 0 {
			line += ": " + strings.Join(a.GetChangedFields(), ", ")
		}
		if err := r.print("%s", show.Safe(line)); err != nil {
			return err
		}
	}
	var parts []string
	for _, action := range []string{"created", "updated", "deleted", "unchanged"} {
		if count[action] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[action], action))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing to do"}
	}
	if c.DryRun {
		return r.print("%s (dry run, nothing stored)", strings.Join(parts, ", "))
	}
	return r.print("%s; revision %d", strings.Join(parts, ", "), res.GetRevision())
}

// discover makes the tools of the manifests' gateways known: it applies everything but gateways, then has the servers
// discovered. It returns what was applied, and reports done if there is nothing left to do: a dry run cannot check gateways
// whose tools nobody knows.
func (c *applyCommand) discover(ctx context.Context, r *run, client *admin.Client, set *manifest.Set) (applied *adminv1.ApplyResponse, done bool, err error) {
	servers, err := undiscovered(ctx, client, set.Resources)
	if err != nil || len(servers) == 0 {
		return nil, false, err
	}
	first := set.Without("Gateway").Without("OAuthClient") // an OAuth client may name the gateways
	res, err := client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: first.Resources, ValidateOnly: c.DryRun})
	if err != nil {
		return nil, false, placed(err, first)
	}
	if c.DryRun {
		r.note("dry run: %s would be discovered first, so gateways cannot be checked yet", strings.Join(servers, ", "))
		return res, true, c.report(r, res)
	}
	for _, s := range servers {
		found, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: s})
		if err != nil {
			return nil, false, fmt.Errorf("discover server %s: %w", s, err)
		}
		r.note("server %s: %d tools", s, len(found.GetTools()))
	}
	return res, false, nil
}

// undiscovered returns the servers of tools that gateways ask for and the control plane does not know, sorted.
func undiscovered(ctx context.Context, client *admin.Client, resources []*adminv1.ManifestResource) ([]string, error) {
	wanted := map[string]map[string]bool{}
	for _, m := range resources {
		for _, a := range m.GetGateway().GetTools() {
			server, _, ok := strings.Cut(a.GetTool(), "/")
			if !ok {
				continue // refused by the server, with its place
			}
			if wanted[server] == nil {
				wanted[server] = map[string]bool{}
			}
			wanted[server][a.GetTool()] = true
		}
	}
	for _, server := range slices.Collect(maps.Keys(wanted)) {
		known, err := toolsOf(ctx, client, server)
		if err != nil {
			return nil, err
		}
		for _, t := range known {
			delete(wanted[server], t.GetName())
		}
		if len(wanted[server]) == 0 {
			delete(wanted, server)
		}
	}
	return slices.Sorted(maps.Keys(wanted)), nil
}

// placed adds to an error where in the manifests each refused field stands.
func placed(err error, set *manifest.Set) error {
	e, ok := admin.AsError(err)
	if !ok {
		return err
	}
	var places manifest.Problems
	for _, f := range e.Fields {
		if at, ok := set.Where(f.Path); ok {
			places = append(places, manifest.Problem{Position: at, Text: f.Problem})
		}
	}
	if len(places) == 0 {
		return err
	}
	return placedError{cause: err, places: places}
}

// placedError shows the places in place of the paths.
type placedError struct {
	cause  error
	places manifest.Problems
}

// Error implements error.
func (e placedError) Error() string { return e.places.Error() }

// Unwrap returns the error of the call.
func (e placedError) Unwrap() error { return e.cause }

// exportCommand is penstock export.
type exportCommand struct{}

// Run implements the command.
func (c *exportCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		return err
	}
	write := manifest.Marshal
	if r.format(show.FormatYAML) == show.FormatJSON {
		write = manifest.MarshalJSON
	}
	out, err := write(res.GetResources())
	if err != nil {
		return err
	}
	_, err = r.Stdout.Write(out)
	return err
}
