// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
)

// Status is the outcome of a check.
type Status string

// Statuses, as the suite writes them. Info says something and judges nothing.
const (
	Success Status = "SUCCESS"
	Failure Status = "FAILURE"
	Warning Status = "WARNING"
	Skipped Status = "SKIPPED"
	Info    Status = "INFO"
)

// Check is one check of one scenario.
type Check struct {
	// Scenario is for example "tools-list" or "auth/basic-cimd".
	Scenario string `json:"scenario"`
	// ID and Name are the suite's; several checks of a scenario may share one or both.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Status is the outcome.
	Status Status `json:"status"`
	// Error says what is wrong; empty for a check that passed.
	Error string `json:"errorMessage,omitempty"`
}

// checksFile is what the suite writes for each scenario, in a folder named after it.
const checksFile = "checks.json"

// folderName takes the scenario out of "server-tools-list-2026-11-28T19-07-27-477Z". Client runs have no prefix.
var folderName = regexp.MustCompile(`^(?:server-|client-)?(.*?)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

// Read returns the checks in an output folder, by scenario in the order of their names, and within one as the suite made them.
func Read(dir string) ([]Check, error) {
	var all []Check
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != checksFile {
			return err
		}
		match := folderName.FindStringSubmatch(path.Dir(name))
		if match == nil {
			return fmt.Errorf("%s is in no folder that is named after a scenario", name)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		var checks []Check
		if err := json.Unmarshal(text, &checks); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for _, c := range checks {
			c.Scenario, c.Error = match[1], strings.TrimSpace(c.Error)
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the checks: %w", err)
	}
	return all, nil
}
