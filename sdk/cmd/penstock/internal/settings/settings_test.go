// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// world is a home with a configuration file and a working directory with a token, as each case wants them.
func world(t *testing.T, config, local string, env map[string]string) Environment {
	t.Helper()
	e := Environment{ConfigDir: t.TempDir(), Dir: t.TempDir(), LookupEnv: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	write(t, filepath.Join(e.ConfigDir, "config.yaml"), config)
	write(t, filepath.Join(e.Dir, localToken), local)
	write(t, filepath.Join(e.ConfigDir, "mine.token"), "pst_u_file\n")
	return e
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if text == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	const config = "addr: https://file.example\ntoken_file: mine.token\n"
	tests := []struct {
		name, config, local string
		env                 map[string]string
		flags               Flags
		addr, addrOrigin    string
		token               string
		isLocal             bool
	}{
		{name: "nothing", addr: "http://127.0.0.1:8081", addrOrigin: "default"},
		{name: "offset", env: map[string]string{OffsetVariable: "100"}, addr: "http://127.0.0.1:8181", addrOrigin: "default and " + OffsetVariable},
		{name: "file", config: config, addr: "https://file.example", addrOrigin: "config.yaml", token: "pst_u_file"},
		{
			name: "environment before file", config: config, env: map[string]string{AddrVariable: "http://env", TokenVariable: " pst_u_env\n"},
			addr: "http://env", addrOrigin: AddrVariable, token: "pst_u_env",
		},
		{
			name: "flag before environment", env: map[string]string{AddrVariable: "http://env"}, flags: Flags{Addr: "http://flag"},
			addr: "http://flag", addrOrigin: "--addr",
		},
		{name: "local token", local: "pst_u_local\n", addr: "http://127.0.0.1:8081", addrOrigin: "default", token: "pst_u_local", isLocal: true},
		{
			name: "local token only if there is no other", local: "pst_u_local", env: map[string]string{TokenVariable: "pst_u_env"},
			addr: "http://127.0.0.1:8081", addrOrigin: "default", token: "pst_u_env",
		},
		{name: "empty variables are not set", config: config, env: map[string]string{AddrVariable: "", TokenVariable: ""}, addr: "https://file.example", addrOrigin: "config.yaml", token: "pst_u_file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Load(world(t, tt.config, tt.local, tt.env), tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			if got.Addr.Value != tt.addr || !strings.HasSuffix(got.Addr.Origin, tt.addrOrigin) {
				t.Errorf("addr: got %+v, want %s from %s", got.Addr, tt.addr, tt.addrOrigin)
			}
			if got.Token.Value != tt.token || got.Local != tt.isLocal {
				t.Errorf("token: got %+v (local %t), want %s (local %t)", got.Token, got.Local, tt.token, tt.isLocal)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name, config, local string
		env                 map[string]string
		flags               Flags
		want                string
	}{
		{name: "unknown setting", config: "adr: http://x\n", want: "adr"},
		{name: "not YAML", config: "a: b: c\n", want: "config.yaml"},
		{name: "missing file that was named", flags: Flags{Config: "/nowhere/config.yaml"}, want: "/nowhere/config.yaml"},
		{name: "missing token file", config: "token_file: other.token\n", want: "other.token"},
		{name: "empty local token", local: " \n", want: "holds no token"},
		{name: "offset is no number", env: map[string]string{OffsetVariable: "many"}, want: OffsetVariable},
		{name: "offset is too large", env: map[string]string{OffsetVariable: "60000"}, want: OffsetVariable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(world(t, tt.config, tt.local, tt.env), tt.flags)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "penstock", "config.yaml")
	for _, set := range [][2]string{{"addr", "http://one"}, {"token_file", "t"}, {"addr", "http://two"}, {"token_file", ""}} {
		if err := Set(path, set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("addr: http://two\n", string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := Set(path, "tokenfile", "x"); err == nil {
		t.Error("an unknown setting was written")
	}
}
