// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// followEvery is how often new events are asked for.
const followEvery = time.Second

// auditCommand is penstock audit.
type auditCommand struct {
	Since   time.Duration `help:"Events of the last while, for example 1h." placeholder:"DURATION"`
	Gateway string        `help:"Calls at this gateway."`
	Tool    string        `help:"Calls of this tool, SERVER/NAME, or SERVER/* for all of a server."`
	User    string        `help:"What this principal did: an e-mail address, team:NAME, service_account:NAME or organization." placeholder:"PRINCIPAL"`
	Outcome string        `help:"Events of this outcome: ok, tool_error, input_required, task, refused or fault." enum:"ok,tool_error,input_required,task,refused,fault," default:""`
	Policy  string        `help:"Calls that this policy decided about."`
	Source  string        `help:"Tool calls or writes through the admin API." enum:"tool_call,admin," default:"" placeholder:"tool_call|admin"`
	Limit   int           `help:"Most events to show." default:"50"`
	Follow  bool          `help:"Go on with new events, until interrupted." short:"f"`
}

// Run implements the command.
func (c *auditCommand) Run(ctx context.Context, r *run) error {
	if c.Limit < 1 || c.Since < 0 {
		return usageError{errors.New("--limit must be at least 1, and --since not negative")}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	past, last, err := c.past(ctx, client)
	if err != nil {
		return err
	}
	w := eventWriter{run: r, all: !c.Follow}
	if err := w.write(past); err != nil || !c.Follow {
		return err
	}
	return c.follow(ctx, client, &w, last)
}

func (c *auditCommand) request(size int) *adminv1.ListAuditEventsRequest {
	return &adminv1.ListAuditEventsRequest{
		PageSize: int32(min(size, 1000)), Gateway: c.Gateway, Tool: c.Tool, Principal: c.User, Outcome: c.Outcome, Policy: c.Policy,
		Source: c.Source,
	}
}

// past returns the newest events, the oldest of them first, and where to follow from.
func (c *auditCommand) past(ctx context.Context, client *admin.Client) (events []*adminv1.AuditEvent, last uint64, err error) {
	req := c.request(c.Limit)
	if c.Since > 0 {
		req.StartTime = timestamppb.New(time.Now().Add(-c.Since))
	}
	for {
		res, err := client.Audit.ListAuditEvents(ctx, req)
		if err != nil {
			return nil, 0, err
		}
		if last == 0 {
			last = res.GetLastId()
		}
		events = append(events, res.GetEvents()...)
		req.PageToken = res.GetNextPageToken()
		if req.PageToken == "" || len(events) >= c.Limit {
			break
		}
	}
	events = events[:min(len(events), c.Limit)]
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events, last, nil
}

// follow writes what comes after an event, until ctx ends.
func (c *auditCommand) follow(ctx context.Context, client *admin.Client, w *eventWriter, last uint64) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for {
			req := c.request(1000)
			req.AfterId = &last
			res, err := client.Audit.ListAuditEvents(ctx, req)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			if err := w.write(res.GetEvents()); err != nil {
				return err
			}
			n := len(res.GetEvents())
			if n < int(req.GetPageSize()) {
				last = max(last, res.GetLastId())
				break
			}
			last = res.GetEvents()[n-1].GetId()
		}
	}
}

// eventWriter writes events: to people a table, to machines a line of JSON each, or YAML.
type eventWriter struct {
	*run

	all    bool // they come at once: columns can be made to fit
	headed bool
}

func (w *eventWriter) write(events []*adminv1.AuditEvent) error {
	switch w.format(show.FormatTable) {
	case show.FormatJSON:
		return show.EachLine(w.Stdout, events)
	case show.FormatYAML:
		if len(events) == 0 && !w.all {
			return nil
		}
		return show.Many(w.Stdout, show.FormatYAML, events)
	}
	rows := make([][]string, 0, len(events))
	for _, e := range events {
		rows = append(rows, eventRow(e))
	}
	header := []string{"TIME", "PRINCIPAL", "GATEWAY", "WHAT", "OUTCOME", "REASON", "POLICY", "MS"}
	if w.all {
		return show.Table(w.Stdout, header, rows)
	}
	if !w.headed {
		w.headed = true
		rows = append([][]string{header}, rows...)
	}
	return show.Columns(w.Stdout, []int{20, 28, 16, 36, 12, 24, 20, 0}, rows)
}

func eventRow(e *adminv1.AuditEvent) []string {
	row := []string{e.GetTime().AsTime().UTC().Format(time.RFC3339), e.GetPrincipal(), "-", "", e.GetOutcome(), e.GetReason(), "", ""}
	if c := e.GetToolCall(); c != nil {
		row[2], row[3], row[6] = c.GetGateway(), c.GetTool(), c.GetPolicy()
		if row[3] == "" {
			row[3] = "? " + c.GetRequestedName()
		}
		row[7] = strconv.FormatFloat(float64(c.GetGatewayUs()+c.GetCredentialUs()+c.GetUpstreamUs())/1000, 'f', 1, 64)
	}
	if a := e.GetAdmin(); a != nil {
		row[3] = a.GetMethod()
		if a.GetName() != "" {
			row[3] += " " + a.GetName()
		}
	}
	for i, cell := range row {
		if cell == "" {
			row[i] = "-"
		}
	}
	return row
}
