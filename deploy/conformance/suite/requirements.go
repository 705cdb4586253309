// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// ClientScenarios returns the scenarios of the client role that a run with --requirements set makes, scored or not. One that the
// suite cannot start leaves no checks, so it takes this list to notice.
func (s *Suite) ClientScenarios(set string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(s.program), "../requirements", set+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("read the requirement set: %w", err)
	}
	required := struct {
		Client    []string `yaml:"client"`
		NotScored []struct {
			Scenario string `yaml:"scenario"`
			Leg      string `yaml:"leg"`
		} `yaml:"not_scored"`
	}{}
	if err := yaml.Unmarshal(text, &required); err != nil {
		return nil, fmt.Errorf("read the requirement set %s: %w", set, err)
	}
	all := required.Client
	for _, s := range required.NotScored {
		if s.Leg == "client" {
			all = append(all, s.Scenario)
		}
	}
	if len(required.Client) == 0 {
		return nil, fmt.Errorf("the requirement set %s has no client scenarios", set)
	}
	return all, nil
}
