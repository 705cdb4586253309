// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"

	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/completion"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/settings"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

var errTokenItself = errors.New("name the token, do not paste it: penstock get tokens shows the names")

// configCommands is penstock config.
type configCommands struct {
	View configViewCommand `cmd:"" default:"1" help:"Show the settings and where each comes from."`
	Set  configSetCommand  `cmd:"" help:"Write a setting into the configuration file."`
}

// configViewCommand is penstock config.
type configViewCommand struct{}

// Run implements the command.
func (c *configViewCommand) Run(r *run) error {
	s, err := r.settings()
	if err != nil {
		return err
	}
	token, origin := "[redacted]", s.Token.Origin
	if s.Token.Value == "" {
		token, origin = "-", "not set"
	}
	return show.Table(r.Stdout, []string{"SETTING", "VALUE", "FROM"}, [][]string{
		{"config", s.Path, ""}, {"addr", s.Addr.Value, s.Addr.Origin}, {"token", token, origin},
	})
}

// configSetCommand is penstock config set.
type configSetCommand struct {
	Key   string `arg:"" enum:"addr,token_file" help:"addr or token_file."`
	Value string `arg:"" optional:"" help:"Its value; nothing removes the setting."`
}

// Run implements the command.
func (c *configSetCommand) Run(r *run) error {
	s := settings.Path(r.Environment, settings.Flags{Config: r.grammar.Config})
	if err := settings.Set(s, c.Key, c.Value); err != nil {
		return err
	}
	r.note("wrote %s", s)
	return nil
}

// completionCommand is penstock completion.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run implements the command.
func (c *completionCommand) Run(r *run) error {
	script, err := completion.Script(c.Shell, r.model.Node)
	if err != nil {
		return err
	}
	_, err = r.Stdout.Write([]byte(script))
	return err
}
