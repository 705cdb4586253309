// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ErrSpec is in every error about what was asked for, and in none about the machine.
var ErrSpec = errors.New("cannot be run")

// Spec says what to run.
type Spec struct {
	// Command is an absolute path, or a bare name that is looked up in the PATH of this process.
	Command string
	Args    []string
	// Env and Secrets together are the whole environment; Secrets wins.
	Env     map[string]string
	Secrets map[string]obs.Secret
	// Dir is the working directory.
	Dir string
}

// path returns the program to run.
func (s *Spec) path() (string, error) {
	switch {
	case filepath.IsAbs(s.Command):
		return s.Command, nil
	case s.Command == "" || filepath.Base(s.Command) != s.Command:
		return "", fmt.Errorf("%w: the command is neither an absolute path nor a bare name", ErrSpec)
	}
	path, err := exec.LookPath(s.Command)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return path, nil
}

// environ returns the environment, sorted. It is never nil, which would inherit ours. Errors name no value.
func (s *Spec) environ() ([]string, error) {
	all := make(map[string]string, len(s.Env)+len(s.Secrets))
	for name, value := range s.Env {
		all[name] = value
	}
	for name, value := range s.Secrets {
		all[name] = value.Reveal()
	}
	env := make([]string, 0, len(all))
	for name, value := range all {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("%w: the environment variable %q cannot be set", ErrSpec, name)
		}
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env, nil
}
