// SPDX-License-Identifier: Apache-2.0

package lawtest

// ours is what the import paths of all six modules begin with.
const ours = "github.com/penstockhq/penstock/"

// A rule forbids imports: packages that match From, and none of Except, import nothing that matches Deny.
//
// Patterns match whole path elements. "net/http" is that package alone; "net/http/..." is it and everything below. "*" stands for
// one element, or for a part of one. Packages of ours are written without their common prefix: "sdk/kit/...".
type rule struct {
	Name   string
	From   []string
	Except []string
	Deny   []string
	Allow  []string // exceptions from Deny
	Why    string   // what to do in place of it
	Tests  bool     // whether imports of tests count too
}

// rules is the part of the law that is said in terms of forbidden imports (rules 1, 2, 4 and 5).
func rules() []rule {
	servers := []string{"controlplane/...", "dataplane/...", "authserver/..."}
	return []rule{
		{
			Name: "1 contracts", From: []string{"proto/..."},
			Deny: []string{"sdk/...", "controlplane/...", "dataplane/...", "authserver/...", "deploy/..."},
			Why:  "contracts import nothing of ours", Tests: true,
		},
		{
			Name: "1 kit knows no contracts", From: []string{"sdk/kit/..."}, Except: []string{"sdk/kit/fault/...", "sdk/kit/compile/..."},
			Deny: []string{"proto/..."}, Why: "only kit/fault (error details) and kit/compile (resources) know the contracts",
		},
		{
			Name: "1 kit stands alone", From: []string{"sdk/kit/..."},
			Deny: []string{"sdk/admin/...", "sdk/node/...", "sdk/cmd/..."}, Why: "kit is below the public clients",
		},
		{
			Name: "1 public clients", From: []string{"sdk/admin/...", "sdk/node/..."},
			Deny: []string{"sdk/..."}, Allow: []string{"sdk/kit/fault", "sdk/admin/...", "sdk/node/..."},
			Why: "public clients import proto/gen and kit/fault",
		},
		{
			Name: "1 CLI", From: []string{"sdk/cmd/..."}, Deny: []string{"sdk/node/...", "sdk/member/..."},
			Why: "the CLI is built on sdk/admin, as any outside program would be",
		},
		{
			Name: "1 membership is the roots'", From: servers, Except: []string{"dataplane", "authserver"},
			Deny: []string{"sdk/member/..."}, Why: "the root joins the fleet and hands the certificate on as a tlsx.Source",
		},
		{
			Name: "2 the control plane meets the others in proto", From: []string{"controlplane/..."},
			Deny: []string{"dataplane/...", "authserver/...", "deploy/...", "sdk/cmd/..."},
			Why:  "servers meet in proto; what two compute alike lives in sdk/kit/compile", Tests: true,
		},
		{
			Name: "2 the data plane meets the others in proto", From: []string{"dataplane/..."},
			Deny: []string{"controlplane/...", "authserver/...", "deploy/...", "sdk/cmd/..."},
			Why:  "servers meet in proto; what two compute alike lives in sdk/kit/compile", Tests: true,
		},
		{
			Name: "2 the authserver meets the others in proto", From: []string{"authserver/..."},
			Deny: []string{"controlplane/...", "dataplane/...", "deploy/...", "sdk/cmd/..."},
			Why:  "servers meet in proto; what two compute alike lives in sdk/kit/compile", Tests: true,
		},
		{
			Name: "2 the SDK meets the servers in proto", From: []string{"sdk/..."},
			Deny: []string{"controlplane/...", "dataplane/...", "authserver/...", "deploy/..."},
			Why:  "the SDK meets servers in proto", Tests: true,
		},
		{
			Name: "3 deploy sees composition roots only", From: []string{"deploy/..."},
			Deny: servers, Allow: []string{"controlplane", "dataplane", "authserver"},
			Why: "deploy imports the root packages of the servers and nothing below them", Tests: true,
		},
		{
			Name: "4 the domain is pure",
			From: []string{
				"controlplane/internal/catalog/...", "controlplane/internal/approval", "dataplane/internal/policy/...", "dataplane/internal/view/...", "authserver/internal/grants/...",
				"authserver/internal/idjag/...",
			},
			Deny: []string{
				"net/http/...", "database/sql/...", "github.com/redis/...", "connectrpc.com/...", "google.golang.org/grpc/...",
			},
			Why: "the domain is free of transport and storage: declare an interface, the root fills it",
		},
		{
			Name: "4 resource messages stay at the border", From: append([]string{"sdk/kit/..."}, servers...),
			Except: []string{
				"sdk/kit/compile/...",
				"controlplane/internal/adminapi/...", "controlplane/internal/feed/...", "controlplane/internal/distribute/...",
				"controlplane/internal/relay/...", "dataplane/internal/follow/...", "authserver/internal/directory/...",
				"dataplane/internal/explain/...", // its answer is a message, and no call needs it
			},
			Deny: []string{"proto/gen/penstock/resource/..."},
			Why:  "turn messages into the domain's types where they enter",
		},
		{
			Name: "5 SQL", From: servers, Except: []string{"controlplane/internal/sqlstore/...", "authserver/internal/sqlstore/..."},
			Deny: []string{"database/sql/...", "github.com/jackc/pgx/...", "modernc.org/sqlite/...", "github.com/pressly/goose/..."},
			Why:  "SQL lives in sqlstore",
		},
		{
			Name: "5 Redis", From: append([]string{"sdk/..."}, servers...),
			Except: []string{"sdk/kit/redisx/...", "sdk/kit/quota/...", "dataplane/internal/redisstate/..."},
			Deny:   []string{"github.com/redis/go-redis/..."}, Why: "Redis lives in kit/redisx, kit/quota and redisstate",
		},
		{
			Name: "5 Connect", From: append([]string{"sdk/kit/...", "sdk/node/..."}, servers...),
			Except: []string{
				"controlplane", "dataplane", "authserver",
				"controlplane/internal/adminapi/...", "controlplane/internal/secrets/...",
				"authserver/internal/credentialapi/...", "dataplane/internal/credential/...",
			},
			Deny: []string{"connectrpc.com/..."}, Why: "Connect lives in adminapi, secrets, credentialapi, credential and the roots",
		},
		{
			Name: "5 gRPC", From: append([]string{"sdk/kit/...", "sdk/admin/..."}, servers...),
			Except: []string{
				"controlplane", "dataplane", "authserver",
				"controlplane/internal/distribute/...", "controlplane/internal/relay/...", "controlplane/internal/enroll/...",
				"controlplane/internal/nodeapi/...", "controlplane/internal/directory/...", "controlplane/internal/replicas/...", "dataplane/internal/follow/...",
				"authserver/internal/directory/...",
			},
			Deny: []string{"google.golang.org/grpc/..."},
			Why:  "gRPC lives in distribute, relay, enroll, nodeapi, directory, replicas, follow, sdk/node and the roots",
		},
		{
			Name: "5 CEL", From: append([]string{"sdk/..."}, servers...), Except: []string{"sdk/kit/compile/..."},
			Deny: []string{"cel.dev/...", "github.com/google/cel-go/..."}, Why: "CEL lives in kit/compile",
		},
		{
			Name: "5 fosite", From: servers, Except: []string{"authserver/internal/grants/...", "authserver/internal/tokens/..."},
			Deny: []string{"github.com/ory/fosite/..."}, Why: "fosite lives in grants and tokens",
		},
		{
			// Secrets of 256 bits are compared by SHA-256: no token request pays for a password (auth.md TK-24).
			Name: "5 password hashes", From: servers, Except: []string{"authserver/internal/login/..."},
			Deny: []string{"golang.org/x/crypto/argon2/...", "golang.org/x/crypto/bcrypt/...", "golang.org/x/crypto/scrypt/...", "golang.org/x/crypto/pbkdf2/...", "crypto/pbkdf2/..."},
			Why:  "passwords live in login; everything else is random and needs no slow hash",
		},
		{
			Name: "5 mcp-go", From: append([]string{"sdk/..."}, servers...),
			Except: []string{"dataplane/internal/upstream/...", "dataplane/internal/search/..."},
			Deny:   []string{"github.com/mark3labs/mcp-go/..."},
			Why:    "typed MCP loses bytes: relay with wire and upstream",
		},
	}
}

// A house says which rooms of a server may be imported by other rooms of it (rule 3). The root package may import every room; a
// command imports the root package. A room and the packages below it are one family. Everything else is a sibling, reached
// through an interface that the caller declares and the root fills.
type house struct {
	Open   []string            // rooms that every room may import: domain and leaves
	Arrows map[string][]string // room → further rooms that it may import
	Doors  map[string][]string // command → rooms that it may import
}

// houses is rule 3 for the three servers.
func houses() map[string]house {
	return map[string]house{
		"controlplane": {
			Open: []string{"catalog", "discover", "approval", "audit"},
			Arrows: map[string][]string{
				"adminapi":   {"connect"},        // pure: what to paste into a client
				"distribute": {"feed", "enroll"}, // enroll: which node the peer is
				"nodeapi":    {"enroll"},
				"relay":      {"feed"},
				"replicas":   {"enroll"},
			},
			Doors: map[string][]string{"commitstorm": {"catalog", "sqlstore"}},
		},
		"dataplane": {
			Open: []string{"wire", "view", "call", "seal", "policy"},
			Arrows: map[string][]string{
				"edge":       {"session"}, // a legacy session is part of the HTTP front's protocol
				"redisstate": {"forward", "limit", "session", "taint"},
				"memstate":   {"forward", "limit", "session", "taint"},
				"statetest":  {"forward", "limit", "session", "taint"},
			},
			Doors: map[string][]string{"nodesim": {"follow"}},
		},
		"authserver": {
			Open: []string{"store", "reqctx", "router", "oauthfault", "pages", "keys", "directory", "clients", "limit", "oauthclient", "unproven"},
			Arrows: map[string][]string{
				"authorize":     {"consent", "login"}, // the phases of one conversation with a browser
				"consent":       {"login"},
				"tokens":        {"grants", "idjag"},
				"revoke":        {"grants"},
				"introspect":    {"grants"},
				"keys":          {"vault"},
				"login":         {"vault"}, // client secrets of identity providers
				"credentialapi": {"vault"},
				"connect":       {"upstream", "vault"}, // the protocol behind a connect page; and what is typed on one
				"upstream":      {"vault"},
				"subject":       {"login", "vault"}, // what federated logins leave
				"exchange":      {"vault"},
				"signals":       {"vault"}, // the token for a poll endpoint
			},
		},
	}
}

// bannedNames are package names that say nothing about what is inside (rule 7).
func bannedNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "types", "models", "model", "base", "shared", "misc", "lib"}
}
