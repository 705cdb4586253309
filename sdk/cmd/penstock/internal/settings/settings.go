// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Names of the environment variables.
const (
	AddrVariable   = "PENSTOCK_ADDR"
	TokenVariable  = "PENSTOCK_TOKEN"
	OffsetVariable = "PENSTOCK_PORT_OFFSET"
)

// defaultPort is where a control plane serves the admin API unless told otherwise.
const defaultPort = 8081

// localToken is where penstock-standalone leaves the admin token, below the working directory.
const localToken = ".penstock/admin.token"

// maxTokenBytes bounds a token file.
const maxTokenBytes = 4 << 10

// Environment is where settings come from.
type Environment struct {
	LookupEnv func(name string) (string, bool) // os.LookupEnv
	ConfigDir string                           // directory of config.yaml, for example "/home/ada/.config/penstock"
	Dir       string                           // working directory
}

// Flags are the settings given on the command line; empty means not given.
type Flags struct {
	Addr   string
	Config string // path of the configuration file in place of the default
}

// Value is a setting and where it came from.
type Value struct {
	Value  string
	Origin string // for example "PENSTOCK_ADDR" or "/home/ada/.config/penstock/config.yaml"
}

// Settings is what the command works with.
type Settings struct {
	Path  string // configuration file, whether it exists or not
	Addr  Value  // URL of the admin API
	Token Value  // empty value if there is none
	Local bool   // the token is that of .penstock, which nobody asked for
}

// file is config.yaml.
type file struct {
	Addr      string `yaml:"addr,omitempty"`
	TokenFile string `yaml:"token_file,omitempty"`
}

// Load gathers the settings, in rising precedence: defaults, file, environment, flags. A file that was named must exist; the
// default one need not. The errors say which setting is wrong and never show a token.
func Load(e Environment, f Flags) (Settings, error) {
	s := Settings{Path: Path(e, f)}
	config, err := read(s.Path, f.Config != "")
	if err != nil {
		return s, err
	}
	if s.Addr, err = e.addr(f, config, s.Path); err != nil {
		return s, err
	}
	s.Token, s.Local, err = e.token(config, s.Path)
	return s, err
}

// Path returns the path of the configuration file, whether it exists or not.
func Path(e Environment, f Flags) string {
	if f.Config != "" {
		return f.Config
	}
	return filepath.Join(e.ConfigDir, "config.yaml")
}

func (e Environment) addr(f Flags, config file, path string) (Value, error) {
	if f.Addr != "" {
		return Value{f.Addr, "--addr"}, nil
	}
	if v, ok := e.LookupEnv(AddrVariable); ok && v != "" {
		return Value{v, AddrVariable}, nil
	}
	if config.Addr != "" {
		return Value{config.Addr, path}, nil
	}
	port, origin := defaultPort, "default"
	if v, ok := e.LookupEnv(OffsetVariable); ok && v != "" {
		offset, err := strconv.Atoi(v)
		if err != nil || offset < 0 || offset > 65535-defaultPort {
			return Value{}, fmt.Errorf("%s: want a whole number from 0 to %d, got %q", OffsetVariable, 65535-defaultPort, v)
		}
		port, origin = port+offset, "default and "+OffsetVariable
	}
	return Value{"http://127.0.0.1:" + strconv.Itoa(port), origin}, nil
}

func (e Environment) token(config file, path string) (token Value, local bool, err error) {
	if v, ok := e.LookupEnv(TokenVariable); ok && v != "" {
		return Value{strings.TrimSpace(v), TokenVariable}, false, nil
	}
	if config.TokenFile != "" {
		name := config.TokenFile
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		v, err := ReadToken(name)
		if err != nil {
			return Value{}, false, fmt.Errorf("token_file of %s: %w", path, err)
		}
		return Value{v, name}, false, nil
	}
	v, err := ReadToken(filepath.Join(e.Dir, localToken))
	if errors.Is(err, fs.ErrNotExist) {
		return Value{}, false, nil
	}
	if err != nil {
		return Value{}, false, err
	}
	return Value{v, localToken}, true, nil
}

// ReadToken returns the token in a file, without the white space around it.
func ReadToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" || len(data) > maxTokenBytes || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s holds no token", path)
	}
	return token, nil
}

// read returns what a configuration file says.
func read(path string, required bool) (file, error) {
	var f file
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read configuration: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return f, fmt.Errorf("read configuration %s: %w (known settings: addr, token_file)", path, err)
	}
	return f, nil
}

// Set writes one setting ("addr" or "token_file") into the configuration file, which it makes if needed; an empty value removes
// the setting. The file is readable by its owner only.
func Set(path, key, value string) error {
	config, err := read(path, false)
	if err != nil {
		return err
	}
	switch key {
	case "addr":
		config.Addr = value
	case "token_file":
		config.TokenFile = value
	default:
		return fmt.Errorf("unknown setting %q; known: addr, token_file", key)
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
