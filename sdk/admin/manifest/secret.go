// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secret reads a value that a manifest may only name: {from_env: NAME} or {from_file: PATH}. What it reads never appears in a
// problem.
func (l *loader) secret(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		l.problem(l.at(n), "secrets do not stand in manifests; write {from_env: NAME} or {from_file: PATH}")
		return "", false
	}
	source, name := n.Content[0], resolve(n.Content[1])
	if name == nil || name.Kind != yaml.ScalarNode || name.Value == "" {
		l.problem(l.at(source), "%s wants a name", source.Value)
		return "", false
	}
	switch source.Value {
	case "from_env", "fromEnv":
		return l.fromEnv(name)
	case "from_file", "fromFile":
		return l.fromFile(name)
	default:
		l.problem(l.at(source), "unknown source %q of a secret%s", source.Value, didYouMean(source.Value, []string{"from_env", "from_file"}))
		return "", false
	}
}

func (l *loader) fromEnv(name *yaml.Node) (string, bool) {
	if l.secrets.LookupEnv == nil {
		l.problem(l.at(name), "from_env is not available here")
		return "", false
	}
	value, ok := l.secrets.LookupEnv(name.Value)
	if !ok || value == "" {
		l.problem(l.at(name), "the environment variable %s is not set", name.Value)
		return "", false
	}
	return value, true
}

func (l *loader) fromFile(name *yaml.Node) (string, bool) {
	if l.secrets.ReadFile == nil {
		l.problem(l.at(name), "from_file is not available here")
		return "", false
	}
	path := name.Value
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.source.Dir, path)
	}
	data, err := l.secrets.ReadFile(path)
	if err != nil {
		l.problem(l.at(name), "read the secret: %v", err) // a file error names the path, not what is in it
		return "", false
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		l.problem(l.at(name), "the file %s is empty", name.Value)
		return "", false
	}
	return value, true
}
