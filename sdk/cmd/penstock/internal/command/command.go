// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/settings"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitNotFound = 3
	exitDenied   = 4
	exitConflict = 5
)

// Process is what the command line runs in.
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environment    settings.Environment
	ReadFile       func(path string) ([]byte, error) // os.ReadFile; for secrets of manifests
	Version        string
}

// grammar is the command line; kong reads it.
type grammar struct {
	Addr    string           `help:"URL of the admin API (PENSTOCK_ADDR)." placeholder:"URL"`
	Config  string           `help:"Configuration file in place of ~/.config/penstock/config.yaml." placeholder:"FILE"`
	Output  string           `help:"Form of the output: table, json or yaml." short:"o" enum:"table,json,yaml," default:"" placeholder:"FORM"`
	Version kong.VersionFlag `help:"Show the version."`

	Apply       applyCommand        `cmd:"" help:"Bring the configuration into the state of manifests, in one revision."`
	Revisions   revisionsCommand    `cmd:"" help:"List the revisions, newest first."`
	Rollback    rollbackCommand     `cmd:"" help:"Go back to an older revision."`
	Rollout     rolloutCommands     `cmd:"" help:"Show or promote the staged rollout."`
	Export      exportCommand       `cmd:"" help:"Write the configuration as manifests, without secrets."`
	Get         getCommand          `cmd:"" help:"List resources of a kind, or show one."`
	Describe    describeCommand     `cmd:"" help:"Show everything about one resource, with its conditions."`
	Delete      deleteCommand       `cmd:"" help:"Delete one resource."`
	Undelete    undeleteCommand     `cmd:"" help:"Bring back a server or gateway deleted within the last 30 days."`
	Token       tokenCommands       `cmd:"" help:"Make and revoke bearer tokens."`
	User        userCommands        `cmd:"" help:"Set the passwords of users."`
	OAuthClient oauthClientCommands `cmd:"" name:"oauth-client" help:"Make secrets of OAuth clients."`
	Provider    providerCommands    `cmd:"" name:"identity-provider" help:"Make SCIM tokens of identity providers."`
	Policy      policyCommands      `cmd:"" help:"Test the policies."`
	Approvals   approvalCommands    `cmd:"" help:"List tool calls that wait for approval, and decide about them."`
	Explain     explainCommand      `cmd:"" help:"Say what would become of a tool call, and why."`
	Server      serverCommands      `cmd:"" help:"Discover servers' tools and review changed definitions."`
	Nodes       nodesCommand        `cmd:"" help:"List the data-plane nodes and what they enforce."`
	Node        nodeCommands        `cmd:"" help:"Let nodes and authservers join, and ban them."`
	Audit       auditCommand        `cmd:"" help:"Show who called which tool and who changed what."`
	Wait        waitCommand         `cmd:"" help:"Wait until every node enforces a revision."`
	Connect     connectCommand      `cmd:"" help:"Show how to connect an MCP client to a gateway."`
	Settings    configCommands      `cmd:"" name:"config" help:"Show or change the settings of this command."`
	Completion  completionCommand   `cmd:"" help:"Write a shell completion script."`
}

// run is what a command works with.
type run struct {
	Process
	grammar *grammar
	model   *kong.Application
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

// Unwrap returns the error inside.
func (e usageError) Unwrap() error { return e.error }

// Main runs one command line and returns the exit code: 0, 1 failure, 2 usage, 3 not found, 4 denied, 5 conflict.
func Main(ctx context.Context, args []string, p Process) int {
	err := p.main(ctx, args)
	if err == nil {
		return exitOK
	}
	for line := range strings.Lines(explain(err)) {
		_, _ = fmt.Fprintf(p.Stderr, "penstock: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exitCode(err)
}

// exited is how kong's own --help and --version end: they call Exit and expect not to come back.
type exited struct{ code int }

func (p Process) main(ctx context.Context, args []string) (err error) {
	g := &grammar{}
	parser, err := kong.New(g,
		kong.Name("penstock"), kong.Description("Administers a Penstock MCP gateway through its admin API."),
		kong.Writers(p.Stdout, p.Stderr), kong.Vars{"version": p.Version, "kinds": strings.Join(kindWords(), ",")},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(code int) { panic(exited{code}) }),
	)
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			if r.code != 0 {
				err = usageError{errors.New("command line not understood")}
			}
		default:
			panic(r)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return usageError{withoutPassword(err)}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(&run{Process: p, grammar: g, model: parser.Model})
}

// settings gathers what the command line, the environment and the file say.
func (r *run) settings() (settings.Settings, error) {
	return settings.Load(r.Environment, settings.Flags{Addr: r.grammar.Addr, Config: r.grammar.Config})
}

// client connects to the control plane that the settings name.
func (r *run) client() (*admin.Client, error) {
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	if s.Token.Value == "" {
		return nil, errNoToken
	}
	if s.Local {
		r.note("using the token in %s; set %s or token_file to use another", s.Token.Origin, settings.TokenVariable)
	}
	c, err := admin.New(s.Addr.Value, s.Token.Value, admin.WithUserAgent("penstock/"+r.Version))
	if err != nil {
		return nil, fmt.Errorf("%w (from %s)", err, s.Addr.Origin)
	}
	return c, nil
}

var errNoToken = errors.New("there is no token: set PENSTOCK_TOKEN, or name a file with: penstock config set token_file FILE")

// format is how to write results; fallback where the user did not say.
func (r *run) format(fallback string) string {
	if r.grammar.Output == "" {
		return fallback
	}
	return r.grammar.Output
}

// forPeople reports whether to write tables and sentences.
func (r *run) forPeople() bool { return r.format(show.FormatTable) == show.FormatTable }

// print writes a line of results.
func (r *run) print(format string, a ...any) error {
	_, err := fmt.Fprintf(r.Stdout, format+"\n", a...)
	return err
}

// note writes a line for the person at the terminal, out of the way of results.
func (r *run) note(format string, a ...any) {
	_, _ = fmt.Fprintf(r.Stderr, "penstock: "+format+"\n", a...)
}
