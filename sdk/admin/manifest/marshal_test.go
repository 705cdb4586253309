// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func TestMarshal(t *testing.T) {
	want := `kind: Team
name: eng
members: [{user: ada@example.com, role: ADMIN}, {user: bob@example.com}]
---
kind: Server
name: everything
display_name: Everything
streamable_http: {url: 'http://127.0.0.1:3001/mcp'}
credential: {static_headers: {}}
visibility: {organization: {}}
call_timeout: 1m
max_concurrency: 16
protocol: "2025-11-25"
tool_changes: ACCEPT
---
kind: Connection
name: everything-shared
server: everything
owner: {organization: {}}
---
kind: Gateway
name: eng
labels: {env: prod}
display_name: Engineering tools
instructions: |
  first line
  second line
visibility: {team: {teams: [eng]}}
authentication: {bearer_token: {}}
tools:
  - {tool: everything/echo, pinned: {connection: everything-shared}}
  - {tool: everything/get-sum, pinned: {connection: everything-shared}, exposed_name: add}
naming: {prefix: NEVER}
max_stale: 36h
---
kind: User
name: ada@example.com
role: EDITOR
identities: [{issuer: 'https://idp.example', subject: 00u1}]
---
kind: IdentityProvider
name: okta
issuer: https://idp.example
client_id: penstock
email_domains: [example.com]
group_mappings: [{group: Engineers, team: eng}]
required_claims: {tid: t1}
trusted_email_addresses: true
gateway_tokens: true
jwks_uri: https://idp.example/keys
signing_algorithms: [ES256]
max_token_age: 12h
---
kind: Gateway
name: ci
visibility: {organization: {}}
authentication:
  oauth: {}
  jwks:
    issuers:
      - identity_provider: okta
        audiences: ['https://gw.example/v1/mcp/ci']
        scope_claim: roles
        required_claims: {env: prod}
        require_at_jwt: true
tools: [{tool: everything/echo, pinned: {connection: everything-shared}, required_scopes: ['mcp:write']}]
---
kind: OAuthClient
name: builder
redirect_uris: ['https://ci.example/cb']
authentication: CLIENT_SECRET
client_credentials: {gateways: [ci], scopes: [mcp, 'mcp:write']}
trusted: true
`
	got, err := Marshal(exampleResources())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMarshalLeavesOut: what Penstock sets, and secrets, never stand in a manifest.
func TestMarshalLeavesOut(t *testing.T) {
	got, err := Marshal([]*adminv1.ManifestResource{{Resource: &adminv1.ManifestResource_Connection{Connection: &resourcev1.Connection{
		Name: "c", Uid: "u", Etag: "e", SecretHeaders: map[string]string{"A": "s3cret"}, SecretEnv: map[string]string{"B": "s3cret"},
		SecretNames: []string{"A"}, CredentialVersion: "v", Status: &resourcev1.ConnectionStatus{LastError: "x"},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("kind: Connection\nname: c\n", string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err = Marshal([]*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{Name: "crm", Credential: &resourcev1.ServerCredential{
			Version: "m_1", Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{
				ClientId: "penstock", ClientSecret: "s3cret", SecretVersion: "v1",
			}},
		}}}},
		{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{Name: "hr", Credential: &resourcev1.ServerCredential{
			Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", Grant: resourcev1.ExchangeGrant_EXCHANGE_GRANT_ID_JAG, ClientSecret: "s3cret", SecretVersion: "v1",
			}},
		}}}},
		{Resource: &adminv1.ManifestResource_IdentityProvider{IdentityProvider: &resourcev1.IdentityProvider{
			Name: "okta", TokenExchange: &resourcev1.KeptTokens{}, SharedSignals: &resourcev1.SharedSignals{PollToken: "s3cret", PollTokenVersion: "v1"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `kind: Server
name: crm
credential: {oauth_client_credentials: {client_id: penstock}}
---
kind: Server
name: hr
credential: {token_exchange: {identity_provider: okta, grant: ID_JAG}}
---
kind: IdentityProvider
name: okta
token_exchange: {}
shared_signals: {}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Marshal([]*adminv1.ManifestResource{{}}); err == nil {
		t.Error("a resource without a kind was written")
	}
}

// random fills messages with values that YAML likes to read as something else.
type random struct{ *rand.Rand }

func (r random) text() string {
	hard := []string{
		"", "true", "no", "~", "null", "1.0", "0x1F", "1e3", "2025-11-25", "12:30", " lead", "trail ", "a: b", "- a", "#c", "a #b", "'q'", `"d"`,
		"{x}", "[x]", "&a", "*a", "!t", "|", ">", "%", "@x", "`x`", "line\n", "\nline", "a\n\nb\n\n", "tab\tx", "back\\slash", "é😀\u2028", "\u0085", "-", "?", ":", ",", "<<", "=",
	}
	return hard[r.IntN(len(hard))] + fmt.Sprint(r.IntN(3))
}

func (r random) message(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *durationpb.Duration:
		proto.Merge(v, durationpb.New(time.Duration(r.Int64N(int64(90*24*time.Hour)))))
		return
	case *structpb.Struct:
		s, _ := structpb.NewStruct(map[string]any{r.text(): []any{1.5, r.text(), nil, true}})
		proto.Merge(v, s)
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if outputOnly(string(m.Descriptor().Name()), string(f.Name())) || isSecret(f) || f.Name() == "etag" || r.IntN(3) == 0 {
			continue
		}
		r.field(m, f)
	}
}

func (r random) field(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		for range 1 + r.IntN(3) {
			m.Mutable(f).Map().Set(protoreflect.ValueOfString(r.text()).MapKey(), protoreflect.ValueOfString(r.text()))
		}
	case f.IsList():
		for range 1 + r.IntN(3) {
			if f.Kind() == protoreflect.MessageKind {
				r.message(m.Mutable(f).List().AppendMutable().Message())
				continue
			}
			m.Mutable(f).List().Append(protoreflect.ValueOfString(r.text()))
		}
	case f.Kind() == protoreflect.MessageKind:
		r.message(m.Mutable(f).Message())
	case f.Kind() == protoreflect.EnumKind:
		m.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(f.Enum().Values().Len()))))
	case f.Kind() == protoreflect.BoolKind:
		m.Set(f, protoreflect.ValueOfBool(true))
	case f.Kind() == protoreflect.Uint32Kind:
		m.Set(f, protoreflect.ValueOfUint32(r.Uint32()))
	default:
		m.Set(f, protoreflect.ValueOfString(r.text()))
	}
}

// TestRoundTrip: what Marshal and MarshalJSON write, Load reads back to the same, whatever the values are.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(50) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		var want []*adminv1.ManifestResource
		fields := manifestFields()
		for i := range fields.Len() {
			one := &adminv1.ManifestResource{}
			m := one.ProtoReflect().Mutable(fields.Get(i)).Message()
			r.message(m)
			m.Set(m.Descriptor().Fields().ByName("name"), protoreflect.ValueOfString(fmt.Sprintf("n%d", i)))
			want = append(want, one)
		}
		for form, write := range map[string]func([]*adminv1.ManifestResource) ([]byte, error){"YAML": Marshal, "JSON": MarshalJSON} {
			text, err := write(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := load(t, string(text))
			if err != nil {
				t.Fatalf("seed %d, %s: %v in\n%s", seed, form, err, text)
			}
			if diff := cmp.Diff(want, got.Resources, protocmp.Transform()); diff != "" {
				t.Fatalf("seed %d, %s (-want +got):\n%s\n%s", seed, form, diff, text)
			}
		}
	}
}

// TestOutputOnlyIsComplete reads the contracts: each field that says "Output only" or "set on the node stream only" must be known
// here as one that manifests may not hold, and no other.
func TestOutputOnlyIsComplete(t *testing.T) {
	files, err := filepath.Glob("../../../proto/penstock/resource/v1/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no contracts found: %v", err)
	}
	message := regexp.MustCompile(`^message (\w+) \{`)
	field := regexp.MustCompile(`^ +(?:repeated )?[\w.<>, ]+ (\w+) = \d+`)
	inManifests := map[string]bool{}
	for _, k := range append(Kinds(), "ToolAssignment", "Visibility", "Owner", "TeamMember", "Naming", "Authentication") {
		inManifests[k] = true
	}
	seen := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		current, comment := "", ""
		for lines := bufio.NewScanner(f); lines.Scan(); {
			line := lines.Text()
			switch {
			case message.MatchString(line):
				current, comment = message.FindStringSubmatch(line)[1], ""
			case strings.HasPrefix(strings.TrimSpace(line), "//"):
				comment += line
			case field.MatchString(line):
				name := field.FindStringSubmatch(line)[1]
				want := strings.Contains(comment, "Output only") || strings.Contains(comment, "set on the node stream only")
				if inManifests[current] && outputOnly(current, name) != want {
					t.Errorf("%s.%s: output only is %t in the contract, %t here", current, name, want, !want)
				}
				if inManifests[current] && want {
					seen++
				}
				comment = ""
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if seen < 20 {
		t.Errorf("found only %d output-only fields; the contracts are not read as they are written", seen)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.yaml": "b", "a.yml": "a", "sub/c.json": "c", "sub/d.txt": "d"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read([]string{dir, filepath.Join(dir, "sub", "d.txt"), "-"}, strings.NewReader("stdin"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range got {
		all = append(all, strings.TrimPrefix(s.Name, dir+"/")+"="+string(s.Data)+" in "+strings.TrimPrefix(s.Dir, dir))
	}
	want := []string{"a.yml=a in ", "b.yaml=b in ", "sub/c.json=c in /sub", "sub/d.txt=d in /sub", "-=stdin in ."}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, path := range map[string]string{"missing": dir + "/nope.yaml", "nothing inside": t.TempDir()} {
		if _, err := Read([]string{path}, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Read([]string{"-"}, strings.NewReader(strings.Repeat("x", maxSourceBytes+1))); err == nil {
		t.Error("a source above the limit was taken")
	}
}

// FuzzLoad: no text panics, and what loads is written and loaded again to the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`[{"kind":"Team","name":"a","display_name":"\ud83d\ude00"}]`))
	f.Add([]byte("kind: Team\nname: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Load([]Source{{Name: "m", Data: data}}, Secrets{})
		if err != nil {
			return
		}
		text, err := Marshal(set.Resources)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load([]Source{{Name: "again", Data: text}}, Secrets{})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		for _, r := range set.Resources {
			if m := Message(r).ProtoReflect(); m.Descriptor().Fields().ByName("etag") != nil {
				m.Clear(m.Descriptor().Fields().ByName("etag"))
			}
		}
		if diff := cmp.Diff(set.Resources, again.Resources, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, text)
		}
	})
}
