// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// made is a package of ours that imports what is given.
func made(importPath string, imports ...string) pkg {
	return pkg{ImportPath: ours + importPath, Name: path.Base(importPath), Imports: imports}
}

// TestRules breaks each rule once and comes close to breaking it once.
func TestRules(t *testing.T) {
	tests := []struct {
		rule    string
		broken  pkg
		allowed pkg
	}{
		{"1 contracts", made("proto/gen/penstock/admin/v1", ours+"sdk/kit/fault"), made("proto/gen/penstock/admin/v1", ours+"proto/gen/penstock/resource/v1")},
		{"1 kit knows no contracts", made("sdk/kit/obs", ours+"proto/gen/penstock/admin/v1"), made("sdk/kit/compile", ours+"proto/gen/penstock/resource/v1")},
		{"1 kit stands alone", made("sdk/kit/run", ours+"sdk/admin"), made("sdk/kit/run", ours+"sdk/kit/fault")},
		{"1 public clients", made("sdk/admin", ours+"sdk/kit/obs"), made("sdk/admin", ours+"sdk/kit/fault")},
		{"1 membership is the roots'", made("dataplane/internal/edge", ours+"sdk/member"), made("dataplane", ours+"sdk/member")},
		{"1 CLI", made("sdk/cmd/penstock", ours+"sdk/node"), made("sdk/cmd/penstock", ours+"sdk/admin")},
		{"2 the control plane meets the others in proto", pkg{ImportPath: ours + "controlplane", TestImports: []string{ours + "dataplane"}}, made("controlplane", ours+"sdk/node")},
		{"2 the data plane meets the others in proto", made("dataplane/internal/follow", ours+"controlplane/internal/feed"), made("dataplane/internal/follow", ours+"sdk/node")},
		{"2 the authserver meets the others in proto", made("authserver", ours+"controlplane"), made("authserver", ours+"sdk/kit/run")},
		{"2 the SDK meets the servers in proto", made("sdk/node", ours+"controlplane"), made("sdk/node", ours+"proto/gen/penstock/distribution/v1")},
		{"3 deploy sees composition roots only", made("deploy/standalone", ours+"controlplane/console"), made("deploy/standalone", ours+"controlplane")},
		{"4 the domain is pure", made("controlplane/internal/catalog", "net/http"), made("controlplane/internal/adminapi", "net/http")},
		{"4 the domain is pure", made("dataplane/internal/policy", "net/http/httptest"), made("dataplane/internal/policy", "net/url")},
		{"4 resource messages stay at the border", made("controlplane/internal/catalog", ours+"proto/gen/penstock/resource/v1"), made("controlplane/internal/feed", ours+"proto/gen/penstock/resource/v1")},
		{"5 SQL", made("controlplane/internal/feed", "github.com/jackc/pgx/v5"), made("controlplane/internal/sqlstore/migrations", "github.com/jackc/pgx/v5")},
		{"5 Redis", made("dataplane/internal/limit", "github.com/redis/go-redis/v9"), made("dataplane/internal/redisstate", "github.com/redis/go-redis/v9")},
		{"5 Redis", made("sdk/kit/run", "github.com/redis/go-redis/v9"), made("sdk/kit/quota", "github.com/redis/go-redis/v9")},
		{"5 Connect", made("controlplane/internal/catalog", "connectrpc.com/connect"), made("controlplane", "connectrpc.com/connect")},
		{"5 gRPC", made("controlplane/internal/adminapi", "google.golang.org/grpc/status"), made("dataplane/internal/follow/followfake", "google.golang.org/grpc/status")},
		{"5 CEL", made("dataplane/internal/policy", "cel.dev/cel-go/cel"), made("sdk/kit/compile", "cel.dev/cel-go/cel")},
		{"5 fosite", made("authserver/internal/store", "github.com/ory/fosite"), made("authserver/internal/tokens", "github.com/ory/fosite")},
		{"5 password hashes", made("authserver/internal/tokens", "golang.org/x/crypto/bcrypt"), made("authserver/internal/login/password", "golang.org/x/crypto/argon2")},
		{"5 mcp-go", made("dataplane/internal/edge", "github.com/mark3labs/mcp-go/mcp"), made("dataplane/internal/upstream/stdio", "github.com/mark3labs/mcp-go/mcp")},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.rule+" in "+tt.broken.path(), func(t *testing.T) {
			i := slices.IndexFunc(rules(), func(r rule) bool { return r.Name == tt.rule })
			if i < 0 {
				t.Fatalf("no rule is called %q", tt.rule)
			}
			r := rules()[i]
			if got := r.violations([]pkg{tt.broken}); len(got) != 1 {
				t.Errorf("broken: got %q, want one violation", got)
			}
			if got := r.violations([]pkg{tt.allowed}); len(got) != 0 {
				t.Errorf("allowed: got %q, want none", got)
			}
		})
		covered[tt.rule] = true
	}
	for _, r := range rules() {
		if !covered[r.Name] {
			t.Errorf("rule %q has no row here", r.Name)
		}
	}
}

// TestRooms is rule 3: only the root package imports many rooms.
func TestRooms(t *testing.T) {
	const module = "dataplane"
	tests := []struct {
		name string
		pkg  pkg
		want int
	}{
		{"root imports rooms", made("dataplane", ours+"dataplane/internal/edge", ours+"dataplane/internal/limit"), 0},
		{"room imports leaf", made("dataplane/internal/edge", ours+"dataplane/internal/wire"), 0},
		{"room imports sibling", made("dataplane/internal/dispatch", ours+"dataplane/internal/limit"), 1},
		{"room imports part of sibling", made("dataplane/internal/dispatch", ours+"dataplane/internal/upstream/stdio"), 1},
		{"room imports its part", made("dataplane/internal/upstream", ours+"dataplane/internal/upstream/stdio"), 0},
		{"part imports its room", made("dataplane/internal/upstream/stdio", ours+"dataplane/internal/upstream"), 0},
		{"drawn arrow", made("dataplane/internal/redisstate", ours+"dataplane/internal/limit"), 0},
		{"arrow backwards", made("dataplane/internal/limit", ours+"dataplane/internal/redisstate"), 1},
		{"command imports root", made("dataplane/cmd/dataplane", ours+"dataplane"), 0},
		{"command imports room", made("dataplane/cmd/dataplane", ours+"dataplane/internal/edge"), 1},
		{"nodesim runs the real follow code", made("dataplane/cmd/nodesim", ours+"dataplane/internal/follow"), 0},
		{"stranger beside the root", made("dataplane/extra", ours+"dataplane/internal/wire"), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := houses()[module].violations(module, []pkg{tt.pkg}); len(got) != tt.want {
				t.Errorf("got %q, want %d violations", got, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	named := func(importPath, name string) pkg { return pkg{ImportPath: ours + importPath, Name: name} }
	tests := []struct {
		name string
		pkgs []pkg
		want []string
	}{
		{"banned", []pkg{named("sdk/kit/util", "util")}, []string{"sdk/kit/util is called util: name it after the one thing it owns"}},
		{
			"shared",
			[]pkg{named("sdk/kit/run", "run"), named("sdk/run", "run")},
			[]string{"sdk/kit/run and sdk/run are both called run: names are unique within a module"},
		},
		{"commands", []pkg{named("dataplane/cmd/dataplane", "main"), named("dataplane/cmd/nodesim", "main")}, nil},
		{"generated", []pkg{named("proto/gen/penstock/types/v1", "types")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, nameViolations(tt.pkgs)); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"net/http", "net/http", true},
		{"net/http", "net/http/httptest", false},
		{"net/http/...", "net/http", true},
		{"net/http/...", "net/http/httptest", true},
		{"net/http/...", "net/httputil", false},
		{"proto/gen/penstock/*/v1", "proto/gen/penstock/admin/v1", true},
		{"proto/gen/penstock/*/v1", "proto/gen/penstock/admin/v2", false},
		{"[", "[", false},
	}
	for _, tt := range tests {
		t.Run(tt.pattern+" "+tt.path, func(t *testing.T) {
			if got := matches([]string{tt.pattern}, tt.path); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// TestPatternsAreWellFormed: a pattern that path.Match refuses would never match, and its rule never fail.
func TestPatternsAreWellFormed(t *testing.T) {
	for _, r := range rules() {
		for _, pattern := range slices.Concat(r.From, r.Except, r.Deny, r.Allow) {
			if _, err := path.Match(strings.TrimSuffix(pattern, "/..."), ""); err != nil {
				t.Errorf("rule %q: pattern %q: %v", r.Name, pattern, err)
			}
		}
	}
}

// TestListFindsThisPackage: the go command's real output is decoded, with names, imports and the imports of tests.
func TestListFindsThisPackage(t *testing.T) {
	pkgs, err := list(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pkgs, func(p pkg) bool { return p.path() == "sdk/kit/lawtest" })
	if i < 0 {
		t.Fatalf("got %v, want sdk/kit/lawtest among them", pkgs)
	}
	p := pkgs[i]
	if p.Name != "lawtest" || !slices.Contains(p.Imports, "os/exec") || !slices.Contains(p.TestImports, "slices") {
		t.Errorf("got %+v, want name lawtest, import os/exec, test import slices", p)
	}
}

func TestListErrors(t *testing.T) {
	t.Run("no such directory", func(t *testing.T) {
		if _, err := list(t.Context(), "nowhere"); err == nil {
			t.Error("got no error")
		}
	})
	t.Run("package that does not load", func(t *testing.T) {
		if _, err := list(t.Context(), t.TempDir()); err == nil {
			t.Error("got no error outside of a module")
		}
	})
	t.Run("output that is no JSON", func(t *testing.T) {
		if _, err := decode(strings.NewReader("{")); err == nil {
			t.Error("got no error")
		}
	})
}
