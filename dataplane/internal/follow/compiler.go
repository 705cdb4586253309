// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// Kinds of resources on the node stream.
const (
	kindServer     = "server"
	kindConnection = "connection"
	kindTool       = "tool"
	kindGateway    = "gateway"
	kindAssignment = "assignment"
	kindTeam       = "team"
	kindUser       = "user"
	kindToken      = "bearer_token"
	kindClient     = "oauth_client"
	kindProvider   = "identity_provider"
	kindPolicy     = "policy"
	kindResult     = "result_policy"
)

// Denials are told what a denial takes away, so that credentials and upstream sessions of it can be dropped.
type Denials interface {
	Denied(keys []view.Key)
}

// Compiler makes views out of states and publishes them. Apply is called by one goroutine at a time; Deny may run
// beside it, because a denial waits for nothing.
type Compiler struct {
	holder  *view.Holder
	denials Denials

	current *view.View
	tokens  map[string][]tokenHash         // token name to its hashes, so that a tombstone finds its entries
	waiting map[string]map[string]struct{} // gateway to tools of its assignments that show nothing yet
	where   places
}

// tokenHash is the SHA-256 of a bearer token's text.
type tokenHash = [sha256.Size]byte

// Features returns what nodes of this release enforce, in the words by which admission asks for it (D-37).
func Features() []string {
	return []string{
		"approvals", "bearer_token", "caller_idp_token", "client_credentials", "explain", "fixed_arguments", "id_jag", "jwks",
		"load_tools_when_needed", "oauth", "passthrough_headers", "policies", "policy_facts", "rate_limits", "required_scopes",
		"resolve_at_call_time", "result_policies", "server_features", "sse", "stdio", "streamable_http", "token_exchange", "token_rotation",
		"untrusted_contexts", "upstream_oauth",
	}
}

// New returns a compiler that publishes to holder and tells denials what was taken away.
func New(holder *view.Holder, denials Denials) *Compiler {
	return &Compiler{holder: holder, denials: denials}
}

// Apply implements node.Applier: when it returns, new calls are decided by s. touched is nil for a full state. In an
// atomic change with a reject, all resources keep their previous form and only removals apply (D-35).
func (c *Compiler) Apply(_ context.Context, s node.State, touched []node.Key, atomic bool) []node.Reject {
	if touched == nil {
		return c.applyAll(s)
	}
	p := c.newPass(s, c.current)
	p.apply(touched)
	if atomic && len(p.rejects) > 0 {
		rejects := p.rejects
		p = c.newPass(s, c.current)
		p.apply(removed(s, touched))
		p.rejects = rejects
	}
	for _, k := range touched {
		c.place(s, k)
	}
	c.publish(p)
	return p.rejects
}

// place notes whether a key that was touched is an assignment that there is.
func (c *Compiler) place(s node.State, k node.Key) {
	if k.Kind != kindAssignment {
		return
	}
	gateway, tool, _ := strings.Cut(k.Name, "/")
	if s.Get(k.Kind, k.Name) == nil {
		c.where.remove(tool, gateway)
	} else {
		c.where.put(tool, gateway)
	}
}

func (c *Compiler) applyAll(s node.State) []node.Reject {
	c.tokens, c.waiting, c.where = nil, nil, places{}
	p := c.newPass(s, nil)
	var touched []node.Key
	for _, kind := range []string{
		kindUser, kindTeam, kindServer, kindConnection, kindToken, kindClient, kindProvider, kindPolicy, kindResult, kindGateway,
	} {
		s.Names(kind, func(name string) bool {
			touched = append(touched, node.Key{Kind: kind, Name: name})
			return true
		})
	}
	s.Names(kindAssignment, func(name string) bool {
		gateway, tool, _ := strings.Cut(name, "/")
		p.assign(gateway, tool)
		c.where.put(tool, gateway)
		return true
	})
	p.apply(touched)
	p.keepRejected(c.current)
	c.publish(p)
	return p.rejects
}

func (c *Compiler) publish(p *pass) {
	c.tokens, c.waiting = p.tokens, p.waiting
	c.current = p.builder.Build(p.state.Epoch(), p.state.Revision())
	c.holder.Publish(c.current)
}

// Deny implements node.Applier: it takes the keys away from new calls at once (D-30).
func (c *Compiler) Deny(_ context.Context, revision uint64, keys []node.Key) {
	denied := make([]view.Key, len(keys))
	for i, k := range keys {
		denied[i] = view.Key{Kind: k.Kind, Name: k.Name}
	}
	c.holder.Deny(revision, denied)
	c.denials.Denied(denied)
}

// Revoke implements node.Config.Revocations: it takes access tokens away at once (D-32). Entries of a kind that this node
// does not know are for newer ones.
func (c *Compiler) Revoke(_ context.Context, entries []*distributionv1.Revocation) {
	list := make([]view.Revocation, 0, len(entries))
	for _, e := range entries {
		kind, ok := kindOf(e.GetKind())
		if !ok || len(e.GetKeySha256()) != sha256.Size || !e.GetExpireTime().IsValid() {
			continue
		}
		r := view.Revocation{Kind: kind, Key: [sha256.Size]byte(e.GetKeySha256()), Expires: e.GetExpireTime().AsTime()}
		if e.GetIssuedBefore().IsValid() {
			r.IssuedBefore = e.GetIssuedBefore().AsTime()
		}
		list = append(list, r)
	}
	c.holder.Revoke(time.Now(), list)
}

func kindOf(k distributionv1.RevocationKind) (view.RevokedKind, bool) {
	switch k {
	case distributionv1.RevocationKind_REVOCATION_KIND_TOKEN:
		return view.RevokedToken, true
	case distributionv1.RevocationKind_REVOCATION_KIND_GRANT:
		return view.RevokedGrant, true
	case distributionv1.RevocationKind_REVOCATION_KIND_KEY:
		return view.RevokedKey, true
	case distributionv1.RevocationKind_REVOCATION_KIND_SUBJECT:
		return view.RevokedSubject, true
	case distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD:
		return view.RevokedWorkload, true
	default:
		return 0, false
	}
}

// removed returns the touched keys that the state no longer has.
func removed(s node.State, touched []node.Key) []node.Key {
	var gone []node.Key
	for _, k := range touched {
		if s.Get(k.Kind, k.Name) == nil {
			gone = append(gone, k)
		}
	}
	return gone
}

func reject(r *distributionv1.Resource, err error) node.Reject {
	f := fault.From(err)
	return node.Reject{
		Key: node.Key{Kind: r.GetKind(), Name: r.GetName()}, Version: r.GetVersion(), Reason: f.Reason, Detail: f.Public,
	}
}
