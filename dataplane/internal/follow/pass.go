// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/sha256"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire/fixed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// pass is one compile run: a builder on the view before, and what the run changes beside it. Nothing outside sees it
// before it is published.
type pass struct {
	state   node.State
	before  *view.View
	builder *view.Builder
	where   *places // of the state before
	tokens  map[string][]tokenHash
	copied  bool // tokens are the pass's own
	waiting map[string]map[string]struct{}
	rejects []node.Reject

	gateways map[string]struct{}            // gateways to compile
	assigned map[string]map[string]struct{} // gateway to tools whose assignment was touched
	tools    map[string]struct{}            // tools that were touched
}

func (c *Compiler) newPass(s node.State, before *view.View) *pass {
	p := &pass{
		state: s, before: before, builder: view.From(before), where: &c.where,
		tokens: c.tokens, waiting: make(map[string]map[string]struct{}, len(c.waiting)),
		gateways: make(map[string]struct{}), assigned: make(map[string]map[string]struct{}), tools: make(map[string]struct{}),
	}
	for gateway, tools := range c.waiting {
		p.waiting[gateway] = maps.Clone(tools)
	}
	return p
}

// assign notes that the assignment of a tool to a gateway was touched.
func (p *pass) assign(gateway, tool string) {
	p.gateways[gateway] = struct{}{}
	set := p.assigned[gateway]
	if set == nil {
		set = make(map[string]struct{})
		p.assigned[gateway] = set
	}
	set[tool] = struct{}{}
}

func (p *pass) apply(touched []node.Key) {
	for _, k := range touched {
		switch k.Kind {
		case kindGateway:
			p.gateways[k.Name] = struct{}{}
		case kindAssignment:
			gateway, tool, _ := strings.Cut(k.Name, "/")
			p.assign(gateway, tool)
		case kindTool:
			p.tools[k.Name] = struct{}{}
			p.where.of(k.Name, func(gateway string) { p.gateways[gateway] = struct{}{} })
		default:
			p.putFlat(k)
		}
	}
	names := slices.Sorted(maps.Keys(p.gateways))
	for i, c := range p.compileGateways(names) {
		p.take(names[i], c)
	}
}

// perWorker is how many gateways are worth a goroutine.
const perWorker = 64

// compileGateways compiles gateways on all cores: a full state of a large deployment is what a start waits for.
func (p *pass) compileGateways(names []string) []compiled {
	out := make([]compiled, len(names))
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(names)/perWorker) {
		wg.Go(func() {
			for {
				first := int(next.Add(perWorker)) - perWorker
				if first >= len(names) {
					return
				}
				for i := first; i < min(first+perWorker, len(names)); i++ {
					out[i] = p.compileGateway(names[i])
				}
			}
		})
	}
	wg.Wait()
	for i := int(next.Load()); i < len(names); i++ { // too few for goroutines
		out[i] = p.compileGateway(names[i])
	}
	return out
}

// compiled is one gateway that was compiled.
type compiled struct {
	gateway *view.Gateway       // nil if it is gone or does not compile
	gone    bool                // the state has no such gateway
	waiting map[string]struct{} // tools of its assignments that show nothing yet
	rejects []node.Reject
}

// take puts a compiled gateway into the view.
func (p *pass) take(name string, c compiled) {
	p.rejects = append(p.rejects, c.rejects...)
	switch {
	case c.gone:
		p.builder.DeleteGateway(name)
		delete(p.waiting, name)
		return
	case c.gateway != nil:
		delete(p.waiting, name)
		p.builder.PutGateway(c.gateway)
	default:
	}
	p.wait(name, c.waiting)
}

// putFlat compiles a resource that stands in the view under its own name.
func (p *pass) putFlat(k node.Key) {
	r := p.state.Get(k.Kind, k.Name)
	switch k.Kind {
	case kindServer:
		if r == nil {
			p.builder.PutServer(k.Name, nil)
		} else if s, err := compile.MakeServer(r.GetServer()); err != nil {
			p.rejects = append(p.rejects, reject(r, err))
		} else {
			p.builder.PutServer(k.Name, s)
		}
	case kindConnection:
		if r == nil {
			p.builder.PutConnection(k.Name, nil)
		} else {
			p.builder.PutConnection(k.Name, compile.MakeConnection(r.GetConnection()))
		}
	case kindTeam:
		if r == nil {
			p.builder.PutTeam(k.Name, nil)
		} else {
			p.builder.PutTeam(k.Name, compile.MakeTeam(r.GetTeam()))
		}
	case kindUser:
		if r == nil {
			p.builder.PutUser(k.Name, nil)
		} else {
			p.builder.PutUser(k.Name, compile.MakeUser(r.GetUser()))
		}
	case kindClient:
		if r == nil {
			p.builder.PutClient(k.Name, nil)
		} else {
			p.builder.PutClient(k.Name, compile.MakeOAuthClient(r.GetOauthClient()))
		}
	case kindProvider:
		if r == nil {
			p.builder.PutProvider(k.Name, nil)
		} else {
			p.builder.PutProvider(k.Name, compile.MakeProvider(r.GetIdentityProvider()))
		}
	case kindPolicy:
		p.putPolicy(k, r)
	case kindResult:
		p.putResultPolicy(k, r)
	case kindToken:
		p.putToken(k)
	}
}

// putPolicy compiles a policy. One that does not compile keeps its earlier form (D-35); where there is none, it blocks what it covers:
// a restriction that cannot be read must not be dropped.
func (p *pass) putPolicy(k node.Key, r *distributionv1.Resource) {
	if r == nil {
		p.builder.PutPolicy(k.Name, nil)
		return
	}
	made, err := compile.MakePolicy(r.GetPolicy())
	if err != nil {
		p.rejects = append(p.rejects, reject(r, err))
		if p.builder.Policy(k.Name) != nil {
			return
		}
		made = compile.Closed(r.GetPolicy())
	}
	p.builder.PutPolicy(k.Name, made)
}

// putResultPolicy does so for a result policy.
func (p *pass) putResultPolicy(k node.Key, r *distributionv1.Resource) {
	if r == nil {
		p.builder.PutResultPolicy(k.Name, nil)
		return
	}
	made, err := compile.MakeResultPolicy(r.GetResultPolicy())
	if err != nil {
		p.rejects = append(p.rejects, reject(r, err))
		if p.builder.ResultPolicy(k.Name) != nil {
			return
		}
		made = compile.ClosedResult(r.GetResultPolicy())
	}
	p.builder.PutResultPolicy(k.Name, made)
}

func (p *pass) putToken(k node.Key) {
	r := p.state.Get(k.Kind, k.Name)
	if r == nil {
		p.dropToken(k.Name)
		return
	}
	hash, t, err := compile.MakeToken(r.GetBearerToken())
	if err != nil {
		p.rejects = append(p.rejects, reject(r, err))
		return
	}
	before, old, err := compile.MakePreviousToken(r.GetBearerToken(), t)
	if err != nil {
		p.rejects = append(p.rejects, reject(r, err))
		return
	}
	p.dropToken(k.Name)
	p.ownTokens()
	hashes := []tokenHash{hash}
	if old != nil {
		p.builder.PutToken(before, old)
		hashes = append(hashes, before)
	}
	p.builder.PutToken(hash, t) // last: it counts if both are one
	p.tokens[k.Name] = hashes
}

func (p *pass) dropToken(name string) {
	if hashes, ok := p.tokens[name]; ok {
		for _, hash := range hashes {
			p.builder.DeleteToken(hash)
		}
		p.ownTokens()
		delete(p.tokens, name)
	}
}

// ownTokens copies the index of tokens before the first write: most changes are to something else.
func (p *pass) ownTokens() {
	if p.copied {
		return
	}
	p.copied = true
	if p.tokens = maps.Clone(p.tokens); p.tokens == nil {
		p.tokens = make(map[string][]tokenHash)
	}
}

// compileGateway compiles one gateway with its tools: those it showed are shown on as they are, unless they or their assignments
// were touched. It changes nothing: several run at once.
func (p *pass) compileGateway(name string) (c compiled) {
	r := p.state.Get(kindGateway, name)
	if r == nil {
		c.gone = true
		return c
	}
	base, err := compile.MakeGateway(r.GetGateway())
	if err != nil {
		c.rejects = append(c.rejects, reject(r, err))
		c.waiting = p.assigned[name]
		return c
	}
	c.gateway = &view.Gateway{Gateway: *base}
	again := maps.Clone(p.waiting[name])
	if again == nil {
		again = make(map[string]struct{}, len(p.assigned[name]))
	}
	maps.Copy(again, p.assigned[name])
	old := make(map[string]*view.Tool)
	if before := p.shown(name); before != nil {
		c.gateway.Tools = make([]*view.Tool, 0, len(before.Tools)+len(again))
		for _, t := range before.Tools {
			_, assigned := again[t.Name]
			if _, touched := p.tools[t.Name]; !touched && !assigned {
				c.gateway.Tools = append(c.gateway.Tools, t)
				continue
			}
			old[t.Name] = t
			again[t.Name] = struct{}{}
		}
	}
	for tool := range again {
		p.addTool(&c, tool, old[tool])
	}
	return c
}

// shown returns a gateway as it was, nil if it was not there.
func (p *pass) shown(name string) *view.Gateway {
	if p.before == nil {
		return nil
	}
	g := p.before.Gateway(name)
	if g == nil || g.Name != name { // a uid
		return nil
	}
	return g
}

// addTool adds one assignment's tool to the gateway; one that does not compile keeps its previous form.
func (p *pass) addTool(c *compiled, tool string, old *view.Tool) {
	g := c.gateway
	a := p.state.Get(kindAssignment, g.Name+"/"+tool)
	if a == nil {
		return
	}
	t := p.state.Get(kindTool, tool)
	var body compile.Definition
	if t != nil && len(t.GetBlobs()) == 1 && len(t.GetBlobs()[0]) == sha256.Size {
		if b := p.state.Blob([sha256.Size]byte(t.GetBlobs()[0])); b != nil { // a nil Body is no nil Definition
			body = b
		}
	}
	made, err := compile.MakeTool(a.GetAssignment(), t, body)
	if err == nil && made != nil {
		err = hideFixed(made)
	}
	switch {
	case err != nil:
		if _, touched := p.assigned[g.Name][tool]; touched { // told once, when it came (D-38)
			c.rejects = append(c.rejects, reject(a, err))
		}
		if old != nil {
			g.Tools = append(g.Tools, old)
		}
	case made == nil:
		if c.waiting == nil {
			c.waiting = make(map[string]struct{})
		}
		c.waiting[tool] = struct{}{}
	default:
		g.Tools = append(g.Tools, made)
	}
}

// hideFixed leaves the fixed arguments of a tool out of what clients see of it, once for each compiled form.
func hideFixed(t *view.Tool) error {
	if len(t.Fixed) == 0 {
		return nil
	}
	shown, err := fixed.Hide(t.Body.Bytes(), t.Fixed)
	if err != nil {
		return fault.New(fault.Invalid, "BAD_DEFINITION", "the tool's definition cannot be read").Because(err)
	}
	t.Accepted, t.Body = t.Body, &kept{shown}
	return nil
}

// kept is a definition in memory. It is used by reference: definitions are compared by what they are before they are read.
type kept struct{ definition []byte }

// Bytes implements [compile.Definition].
func (k *kept) Bytes() []byte { return k.definition }

// Len implements [compile.Definition].
func (k *kept) Len() int { return len(k.definition) }

// wait notes assignments that show nothing yet, so that a later pass looks at them again.
func (p *pass) wait(gateway string, tools map[string]struct{}) {
	if len(tools) == 0 {
		return
	}
	if p.waiting[gateway] == nil {
		p.waiting[gateway] = make(map[string]struct{})
	}
	maps.Copy(p.waiting[gateway], tools)
}

// keepRejected carries the previous form of gateways and servers that a full state could not compile over to the new
// view, so that one bad resource takes nothing away (D-35).
func (p *pass) keepRejected(previous *view.View) {
	if previous == nil {
		return
	}
	for _, r := range p.rejects {
		switch r.Key.Kind {
		case kindGateway:
			if g := previous.Gateway(r.Key.Name); g != nil {
				p.builder.PutGateway(g)
			}
		case kindServer:
			if s := previous.Server(r.Key.Name); s != nil {
				p.builder.PutServer(r.Key.Name, s)
			}
		case kindPolicy:
			if old := previous.Policy(r.Key.Name); old != nil {
				p.builder.PutPolicy(r.Key.Name, old)
			}
		case kindResult:
			if old := previous.ResultPolicy(r.Key.Name); old != nil {
				p.builder.PutResultPolicy(r.Key.Name, old)
			}
		}
	}
}
