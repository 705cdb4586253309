// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/plant"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/visitors"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/witness"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// The regions. Secret words are what must not leave a region.
const (
	home, abroad = "eu", "us"
	homeOnly     = "home-only"
	secretWord   = "a-word-that-stays-in-the-region"
	upstreamKey  = "s3cret-of-the-upstream"
)

// world is a fleet with its upstreams and its visitors.
type world struct {
	t       *testing.T
	size    size
	plant   *plant.Plant
	admin   *admin.Client
	journal *witness.Journal
	keeper  *witness.Witness // keeps sessions
	plain   *witness.Witness // keeps none
	vaulted *witness.Witness // wants a secret
	tokens  []string
	crowd   *visitors.Crowd
	extra   bool // whether the gateway has one tool more now
	secrets int  // gateways with a secret of their own so far
	asked   int  // calls besides the visitors' so far
	report  *report
}

// out is where logs and results go; git ignores it.
const out = "../out"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, size: chosen(), journal: witness.NewJournal()}
	logs, err := filepath.Abs(filepath.Join(out, "fleet-"+w.size.Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	w.report = newReport(w.size)
	w.keeper = w.witness(witness.Config{Journal: w.journal, Sessions: true})
	w.plain = w.witness(witness.Config{Journal: w.journal})
	w.vaulted = w.witness(witness.Config{Journal: w.journal, Secret: upstreamKey})
	w.plant = plant.New(t, plant.Config{
		Bin: os.Getenv(binVariable), Logs: logs, ControlPlanes: w.size.controlPlanes, Authservers: w.size.authservers,
		Regions: []plant.Region{{Name: home, Nodes: w.size.nodes}, {Name: abroad, Nodes: w.size.abroad}},
	})
	if len(w.plant.Unknown) > 0 {
		t.Errorf("the binaries do not have these settings of the topology: %q", w.plant.Unknown)
	}
	w.plant.Start()
	if w.admin, err = admin.New("http://"+w.plant.Admin.Address(), strings.TrimSpace(w.plant.AdminToken())); err != nil {
		t.Fatal(err)
	}
	w.configure()
	return w
}

func (w *world) witness(c witness.Config) *witness.Witness {
	w.t.Helper()
	s, err := witness.Start(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() }) // nodes may listen to it still
	return s
}

// Gateways with a credential each: warm ones are called before an outage, cold ones for the first time in it.
const warm, cold = "warm", "cold"

func (w *world) configure() {
	w.t.Helper()
	var b strings.Builder
	server := func(name, url, more string) {
		fmt.Fprintf(&b, "---\nkind: Server\nname: %s\nstreamable_http: {url: %q}\nvisibility: {organization: {}}\n%s", name, url, more)
	}
	server("keeper", w.keeper.URL, "protocol: \"2025-11-25\"\n")
	server("plain", w.plain.URL, "stateless: true\n")
	server("vaulted", w.vaulted.URL, "credential: {static_headers: {}}\n")
	for _, name := range []string{"keeper", "plain"} {
		fmt.Fprintf(&b, "---\nkind: Connection\nname: %[1]s\nserver: %[1]s\nowner: {organization: {}}\n", name)
	}
	for _, name := range []string{warm, cold} {
		fmt.Fprintf(&b, "---\nkind: Connection\nname: %s\nserver: vaulted\nowner: {organization: {}}\nsecret_headers: {%s: {from_env: KEY}}\n", name, witness.SecretHeader)
	}
	teams := (w.size.sessions + perTeam - 1) / perTeam
	for i := range teams {
		fmt.Fprintf(&b, "---\nkind: Team\nname: team-%d\n", i)
	}
	w.apply(b.String())
	for server, connection := range map[string]string{"keeper": "", "plain": "", "vaulted": warm} {
		w.discover(server, connection)
	}
	b.Reset()
	for _, name := range []string{warm, cold} {
		fmt.Fprintf(&b, "---\nkind: Gateway\nname: %[1]s\nvisibility: {organization: {}}\nauthentication: {bearer_token: {}}\n"+
			"tools:\n- {tool: vaulted/once, pinned: {connection: %[1]s}}\n", name)
	}
	fmt.Fprintf(&b, "---\nkind: Gateway\nname: %s\ndescription: %q\nregions: [%s]\nvisibility: {organization: {}}\n"+
		"authentication: {bearer_token: {}}\ntools:\n- {tool: plain/once, pinned: {connection: plain}}\n", homeOnly, secretWord, home)
	w.apply(b.String() + "---\n" + w.gateway())
	for i := range teams {
		w.tokens = append(w.tokens, w.token(fmt.Sprintf("team-%d", i), "fleet", warm, cold, homeOnly))
	}
	w.enforced(w.toggle())
}

// token makes a token of a team.
func (w *world) token(team string, gateways ...string) string {
	w.t.Helper()
	made, err := w.admin.BearerTokens.CreateBearerToken(w.t.Context(), &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Gateways: gateways, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Team{Team: team}},
	}})
	if err != nil {
		w.t.Fatalf("make a token: %v", err)
	}
	return made.GetToken()
}

// tokenFor makes a token for one gateway and waits until the nodes know it.
func (w *world) tokenFor(gateway string) string {
	w.t.Helper()
	token := w.token("team-0", gateway)
	w.enforced(w.toggle())
	return token
}

// discover asks a node for a server's tools, as soon as one follows the control plane that is asked.
func (w *world) discover(server, connection string) {
	w.t.Helper()
	plant.Eventually(w.t, time.Minute, "discovery of "+server, func() error {
		_, err := w.admin.Servers.DiscoverServer(w.t.Context(), &adminv1.DiscoverServerRequest{Name: server, Connection: connection})
		return err
	})
}

// gateway is the manifest of the gateway that the visitors visit.
func (w *world) gateway() string {
	text := "kind: Gateway\nname: fleet\nvisibility: {organization: {}}\nauthentication: {bearer_token: {}}\ntools:\n"
	for _, tool := range []string{"keeper/once", "keeper/look", "keeper/steps", "keeper/tell", "plain/once", "plain/look", "plain/steps"} {
		server, _, _ := strings.Cut(tool, "/")
		text += fmt.Sprintf("- {tool: %s, pinned: {connection: %s}}\n", tool, server)
	}
	if w.extra {
		text += "- {tool: vaulted/look, pinned: {connection: warm}}\n"
	}
	return text
}

// toggle adds a tool to the gateway, or takes it away, and returns the revision of that.
func (w *world) toggle() uint64 {
	w.t.Helper()
	w.extra = !w.extra
	return w.apply(w.gateway())
}

// apply writes manifests; it may take a second attempt where a control plane ends just now.
func (w *world) apply(yaml string) (revision uint64) {
	w.t.Helper()
	plant.Eventually(w.t, 30*time.Second, "an admin write", func() (err error) {
		revision, err = w.write(w.t.Context(), yaml)
		return err
	})
	return revision
}

func (w *world) write(ctx context.Context, yaml string) (uint64, error) {
	secrets := manifest.Secrets{LookupEnv: func(string) (string, bool) { return upstreamKey, true }}
	set, err := manifest.Load([]manifest.Source{{Name: "fleet.yaml", Data: []byte(yaml)}}, secrets)
	if err != nil {
		w.t.Fatalf("manifest of the test: %v", err)
	}
	r, err := w.admin.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources})
	return r.GetRevision(), err
}

// enforced waits until every node that runs enforces a revision, by what the nodes say.
func (w *world) enforced(revision uint64) {
	w.t.Helper()
	for _, z := range w.plant.Zones {
		for _, n := range z.Nodes {
			plant.Eventually(w.t, time.Minute, fmt.Sprintf("%s enforces revision %d", n.Name, revision), func() error {
				if got := n.Metric("penstock_follow_revision"); got < float64(revision) {
					return fmt.Errorf("it enforces %v", got)
				}
				return nil
			})
		}
	}
}

// homeURL is a gateway behind the balancer of the home region.
func (w *world) homeURL(gateway string) string {
	return w.plant.Zones[0].Fleet.Gateways + "/v1/mcp/" + gateway
}
