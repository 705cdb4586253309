// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"unicode"
	"unicode/utf8"
)

// maxSourceBytes bounds one manifest file.
const maxSourceBytes = 16 << 20

// Source is the text of one manifest.
type Source struct {
	Name string // shown in problems, for example "gateways/eng.yaml"
	Dir  string // directory that from_file is relative to
	Data []byte
}

// Read returns the manifests at paths: a file, a directory (all .yaml, .yml and .json files below it, in name order) or "-" for
// stdin. A directory without a manifest is an error, because it is hardly ever meant. Files above 16 MiB are refused.
func Read(paths []string, stdin io.Reader) ([]Source, error) {
	var sources []Source
	for _, path := range paths {
		found, err := readPath(path, stdin)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	return sources, nil
}

func readPath(path string, stdin io.Reader) ([]Source, error) {
	if path == "-" {
		data, err := readBounded("standard input", stdin)
		return []Source{{Name: "-", Dir: ".", Data: data}}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if !info.IsDir() {
		s, err := readFile(path)
		return []Source{s}, err
	}
	var sources []Source
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
			return err
		}
		s, err := readFile(file)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read manifests in %s: %w", path, err)
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("read manifests: %s holds no .yaml, .yml or .json file", path)
	}
	return sources, nil
}

func readFile(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return Source{}, fmt.Errorf("read manifest: %w", err)
	}
	data, err := readBounded(path, f)
	return Source{Name: path, Dir: filepath.Dir(path), Data: data}, errors.Join(err, f.Close())
}

func readBounded(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSourceBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", name, err)
	}
	if len(data) > maxSourceBytes {
		return nil, fmt.Errorf("read manifest %s: more than %d MiB", name, maxSourceBytes>>20)
	}
	return data, nil
}

// stringLiteral finds the string literals of valid JSON.
var stringLiteral = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// yamlText returns text that a YAML parser reads like the source. YAML includes JSON but for tabs between tokens, some escapes
// (\/ and surrogate pairs) and raw line separators in strings. Lines stay where they are; columns too, unless an escape that
// had to be rewritten stands before them.
func yamlText(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !json.Valid(data) {
		return data
	}
	data = bytes.ReplaceAll(data, []byte("\t"), []byte(" ")) // a valid JSON string holds no raw tab
	return stringLiteral.ReplaceAllFunc(data, func(literal []byte) []byte {
		var text string
		if err := json.Unmarshal(literal, &text); err != nil {
			return literal // cannot be: it is a part of valid JSON
		}
		return quoted(text)
	})
}

// quoted writes a string as a double-quoted YAML scalar on one line.
func quoted(text string) []byte {
	b := []byte{'"'}
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		default:
			b = fmt.Appendf(b, "\\U%08X", r)
		}
	}
	return append(b, '"')
}
