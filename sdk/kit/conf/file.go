// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// maxFile bounds a configuration file, which a person writes.
const maxFile = 1 << 20

// applyFile reads the YAML file at path; the empty path is none.
func (l *loader) applyFile(path string) error {
	if path == "" {
		return nil
	}
	raw, err := readFile(path)
	if err != nil {
		return fault.Newf(fault.Invalid, ReasonFile, "The configuration file %s cannot be read: %s.", path, plain(err)).Because(err)
	}
	d := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc, second yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // empty, or only comments
		}
		return fault.Newf(fault.Invalid, ReasonFile, "The configuration file %s is not YAML: %s.", path, err)
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return fault.Newf(fault.Invalid, ReasonFile, "The configuration file %s holds more than one document.", path)
	}
	f := fileReader{l: l, path: path, seen: map[string]bool{}}
	f.group("", doc.Content[0])
	return nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, errors.New("larger than 1 MiB")
	}
	return raw, nil
}

// plain leaves out the path that os errors repeat.
func plain(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// fileReader walks one document.
type fileReader struct {
	l    *loader
	path string
	seen map[string]bool
}

func (f *fileReader) where(n *yaml.Node) string {
	return fmt.Sprintf("%s:%d:%d", f.path, n.Line, n.Column)
}

// group reads the mapping of the group at prefix.
func (f *fileReader) group(prefix string, n *yaml.Node) {
	where := f.where(n)
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		if prefix == "" {
			f.l.problem("", where, "the file is not a mapping from settings to values")
			return
		}
		f.l.problem(prefix, where, "%s is a group of settings, not a value", prefix)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := join(prefix, key.Value)
		switch st := f.l.schema.byPath[path]; {
		case f.seen[path]:
			f.l.problem(path, f.where(key), "%s stands twice in the file", path)
		case st != nil:
			f.setting(st, value)
		case path != "" && f.l.schema.isGroup(path):
			f.seen[path] = true
			f.group(path, value)
		default:
			f.l.problem(path, f.where(key), "unknown key %q%s", path, f.l.schema.suggestPath(path))
		}
		f.seen[path] = true
	}
}

func (f *fileReader) setting(st *setting, n *yaml.Node) {
	in, problem := inputOf(resolve(n))
	if problem != "" {
		f.l.problem(st.path, f.where(n), "%s %s", st.path, problem)
		return
	}
	f.l.set(st, in, Origin{LayerFile, f.where(n)})
}

// inputOf turns a YAML value into texts. Scalars keep the text of the file:
// "0010" and "1e3" mean what the setting's type says, not what YAML guesses.
func inputOf(n *yaml.Node) (in input, problem string) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return input{}, "has no value: leave the key out to keep the default"
		}
		return textInput(n.Value), ""
	case yaml.SequenceNode:
		in = input{form: formList}
		for _, e := range n.Content {
			e = resolve(e)
			if e.Kind != yaml.ScalarNode || e.ShortTag() == "!!null" {
				return input{}, "holds an element that is not a single value"
			}
			in.list = append(in.list, e.Value)
		}
		return in, ""
	case yaml.MappingNode:
		in = input{form: formDict, dict: map[string]string{}}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, e := n.Content[i].Value, resolve(n.Content[i+1])
			if e.Kind != yaml.ScalarNode || e.ShortTag() == "!!null" {
				return input{}, "holds an entry that is not a single value"
			}
			if _, twice := in.dict[key]; twice {
				return input{}, "holds the key " + key + " twice"
			}
			in.dict[key] = e.Value
		}
		return in, ""
	default:
		return input{}, "is not a value"
	}
}

// resolve follows an alias to its anchor; YAML allows no chains of them.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}
