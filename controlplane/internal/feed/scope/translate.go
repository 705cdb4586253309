// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Entry is one resource as nodes receive it. Immutable, and shared by all classes, snapshots and deltas.
type Entry struct {
	Key     catalog.Key
	Version catalog.Hash
	Wire    []byte // encoded penstock.distribution.v1.Resource, whole
	Blobs   []catalog.Hash

	reduced []byte        // as nodes get it, where that is less than the whole; nil: the whole
	auth    []byte        // as authservers get an assignment or a server; nil: they have no part in it
	needs   []catalog.Key // resources that come into scope with this one (D-12)
	regions []string      // of a gateway
	server  string        // of a connection
}

// kindInstalled is the kind of what stands among an entry's needs for all connections of a server.
const kindInstalled catalog.Kind = "installed"

func installedOf(server string) catalog.Key { return catalog.Key{Kind: kindInstalled, Name: server} }

// For returns the resource as the followers of a scope get it: they are spared what they have no use for (D-82).
func (e *Entry) For(s Scope) []byte {
	switch {
	case s.Authserver && e.auth != nil:
		return e.auth
	case !s.Authserver && e.reduced != nil:
		return e.reduced
	default:
		return e.Wire
	}
}

// Encode translates a stored record. It returns nil for a record that never goes to a node: a bearer token of the admin
// API, a deleted record, a kind without a message.
func Encode(rec *catalog.Record) (*Entry, error) {
	if rec == nil {
		return nil, nil
	}
	e := &Entry{Key: rec.Key, Version: rec.Version, Blobs: rec.Blobs}
	r, err := message(rec, e)
	if err != nil {
		return nil, fmt.Errorf("translate %s %q of revision %d: %w", rec.Kind, rec.Name, rec.Revision, err)
	}
	if r == nil {
		return nil, nil
	}
	r.Kind, r.Name, r.Version = string(rec.Kind), rec.Name, rec.Version[:]
	for _, h := range e.Blobs {
		r.Blobs = append(r.Blobs, h[:])
	}
	encode := proto.MarshalOptions{Deterministic: true}
	if e.Wire, err = encode.Marshal(r); err == nil && len(r.GetOauthClient().GetSecretSha256()) > 0 {
		r.GetOauthClient().SecretSha256 = nil // only the authserver compares secrets
		e.reduced, err = encode.Marshal(r)
	}
	if p := r.GetIdentityProvider(); p != nil && err == nil {
		r.Body = &distributionv1.Resource_IdentityProvider{IdentityProvider: forNodes(p)}
		e.reduced, err = encode.Marshal(r)
	}
	if r.GetAssignment().GetMode() != nil && err == nil {
		// An authserver must know who may have the connection's credential (D-85), and of tools nothing but the resource's name.
		e.auth, err = encode.Marshal(&distributionv1.Resource{
			Kind: r.GetKind(), Name: r.GetName(), Version: r.GetVersion(),
			Body: &distributionv1.Resource_Assignment{Assignment: &resourcev1.ToolAssignment{
				Gateway: r.GetAssignment().GetGateway(), Mode: r.GetAssignment().GetMode(),
			}},
		})
	}
	m := connectable(r.GetServer())
	if m != nil && err == nil {
		if c := forServers(m.GetCredential()); c != nil {
			r.GetServer().Credential = c
			e.reduced, err = encode.Marshal(r)
		}
	}
	if m != nil && err == nil {
		e.auth, err = encode.Marshal(&distributionv1.Resource{
			Kind: r.GetKind(), Name: r.GetName(), Version: r.GetVersion(), Body: &distributionv1.Resource_Server{Server: m},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", rec.Kind, rec.Name, err)
	}
	return e, nil
}

// forNodes is what nodes need of an identity provider: what checks its tokens, if gateways may accept them, and else nothing.
func forNodes(p *resourcev1.IdentityProvider) *resourcev1.IdentityProvider {
	out := &resourcev1.IdentityProvider{Name: p.GetName(), Uid: p.GetUid()}
	if !p.GetGatewayTokens() {
		return out
	}
	out.GatewayTokens, out.Disabled, out.Issuer, out.ClientId = true, p.GetDisabled(), p.GetIssuer(), p.GetClientId()
	out.JwksUri, out.SigningAlgorithms, out.MaxTokenAge = p.GetJwksUri(), p.GetSigningAlgorithms(), p.GetMaxTokenAge()
	out.RequiredClaims = p.GetRequiredClaims()
	return out
}

// connectable returns what an authserver must know of a server for which people give a credential themselves, or for which it makes
// one: what to ask for, and whom it is for. It is nil for every other server.
func connectable(s *resourcev1.Server) *resourcev1.Server {
	switch s.GetCredential().GetKind().(type) {
	case *resourcev1.ServerCredential_StaticHeaders, *resourcev1.ServerCredential_Oauth,
		*resourcev1.ServerCredential_OauthClientCredentials, *resourcev1.ServerCredential_TokenExchange,
		*resourcev1.ServerCredential_CallerIdpToken:
	default:
		return nil
	}
	m := &resourcev1.Server{Name: s.GetName(), Uid: s.GetUid(), DisplayName: s.GetDisplayName(), Credential: s.GetCredential()}
	switch t := s.GetTransport().(type) { // with headers
	case *resourcev1.Server_StreamableHttp:
		m.Transport = t
	case *resourcev1.Server_Sse:
		m.Transport = t
	}
	return m
}

// message decodes the stored JSON into the message of its kind, takes out what is not for nodes, and notes in e what
// the resource needs.
func message(rec *catalog.Record, e *Entry) (*distributionv1.Resource, error) {
	switch rec.Kind {
	case catalog.KindServer:
		m := &resourcev1.Server{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		m.Status = found(m)
		withoutSecret(m.GetCredential())
		if err == nil {
			err = setVersion(m)
		}
		return &distributionv1.Resource{Body: &distributionv1.Resource_Server{Server: m}}, err
	case catalog.KindConnection:
		m := &resourcev1.Connection{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime, m.Status = rec.Name, rec.UID, "", nil, nil, nil
		m.SecretHeaders, m.SecretEnv = nil, nil // never stored; and never sent, whatever is stored (D-84)
		e.needs, e.server = []catalog.Key{{Kind: catalog.KindServer, Name: m.GetServer()}}, m.GetServer()
		return &distributionv1.Resource{Body: &distributionv1.Resource_Connection{Connection: m}}, err
	case catalog.KindTool:
		m := &resourcev1.Tool{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		e.Blobs = accepted(rec, m.GetBodyHash())
		// The hash of the accepted body is among the resource's blobs; what waits to be accepted is nothing for nodes.
		m.Definition, m.PendingDefinition, m.BodyHash, m.PendingBodyHash, m.DefinitionHash = nil, nil, "", "", ""
		server, _, _ := strings.Cut(rec.Name, "/")
		e.needs = []catalog.Key{{Kind: catalog.KindServer, Name: server}}
		return &distributionv1.Resource{Body: &distributionv1.Resource_Tool{Tool: m}}, err
	case catalog.KindGateway:
		m := &resourcev1.Gateway{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime, m.Status = rec.Name, rec.UID, "", nil, nil, nil
		m.Tools = nil
		e.regions = m.GetRegions()
		for _, f := range m.GetServerFeatures() {
			e.needs = append(e.needs, catalog.Key{Kind: catalog.KindServer, Name: f.GetServer()})
			if c := f.GetPinned().GetConnection(); c != "" {
				e.needs = append(e.needs, catalog.Key{Kind: catalog.KindConnection, Name: c})
			}
			if f.GetResolveAtCallTime() != nil {
				e.needs = append(e.needs, installedOf(f.GetServer()))
			}
		}
		return &distributionv1.Resource{Body: &distributionv1.Resource_Gateway{Gateway: m}}, err
	case catalog.KindAssignment:
		return assignment(rec, e)
	default:
		return person(rec)
	}
}

// accepted returns the one body of a tool that nodes show: the record also needs the one that waits to be accepted.
func accepted(rec *catalog.Record, bodyHash string) []catalog.Hash {
	for _, h := range rec.Blobs {
		if hex.EncodeToString(h[:]) == bodyHash {
			return []catalog.Hash{h}
		}
	}
	return rec.Blobs
}

func assignment(rec *catalog.Record, e *Entry) (*distributionv1.Resource, error) {
	m := &resourcev1.ToolAssignment{}
	err := decode(rec, m)
	gateway, tool, _ := strings.Cut(rec.Name, "/")
	m.Gateway, m.Tool = gateway, tool
	e.needs = []catalog.Key{{Kind: catalog.KindTool, Name: tool}}
	if c := m.GetPinned().GetConnection(); c != "" {
		e.needs = append(e.needs, catalog.Key{Kind: catalog.KindConnection, Name: c})
	}
	if m.GetResolveAtCallTime() != nil {
		server, _, _ := strings.Cut(tool, "/")
		e.needs = append(e.needs, installedOf(server))
	}
	return &distributionv1.Resource{Body: &distributionv1.Resource_Assignment{Assignment: m}}, err
}

// person translates the deployment-wide kinds.
func person(rec *catalog.Record) (*distributionv1.Resource, error) {
	switch rec.Kind {
	case catalog.KindTeam:
		m := &resourcev1.Team{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime, m.Provisioning = rec.Name, rec.UID, "", nil, nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_Team{Team: m}}, err
	case catalog.KindUser:
		m := &resourcev1.User{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime, m.Provisioning = rec.Name, rec.UID, "", nil, nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_User{User: m}}, err
	case catalog.KindIdentityProvider:
		m := &resourcev1.IdentityProvider{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		m.ClientSecret = "" // never stored; and never sent, whatever is stored (D-84)
		if m.GetSharedSignals() != nil {
			m.SharedSignals.PollToken = ""
		}
		return &distributionv1.Resource{Body: &distributionv1.Resource_IdentityProvider{IdentityProvider: m}}, err
	case catalog.KindOAuthClient:
		m := &resourcev1.OAuthClient{} // with the hashes of its secrets: the authserver compares them
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_OauthClient{OauthClient: m}}, err
	case catalog.KindPolicy:
		m := &resourcev1.Policy{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_Policy{Policy: m}}, err
	case catalog.KindResultPolicy:
		m := &resourcev1.ResultPolicy{}
		err := decode(rec, m)
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_ResultPolicy{ResultPolicy: m}}, err
	case catalog.KindBearerToken:
		m := &resourcev1.BearerToken{}
		if err := decode(rec, m); err != nil {
			return nil, err
		}
		if m.GetAdminApi() {
			return nil, nil
		}
		sum, err := hex.DecodeString(rec.Lookup)
		if err != nil || len(sum) != len(catalog.Hash{}) {
			return nil, fmt.Errorf("the second key is not a SHA-256")
		}
		m.Name, m.Uid, m.Etag, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, "", nil, nil
		m.Sha256, m.LastUseTime, m.Ttl = sum, nil, nil
		return &distributionv1.Resource{Body: &distributionv1.Resource_BearerToken{BearerToken: m}}, nil
	default:
		return nil, nil
	}
}

// found returns what nodes need of a server's status: the protocol to speak (MCP M-3) and what gateways show of the server
// besides tools. Instructions that were not accepted yet are nothing for nodes, and with tool_changes HOLD the accepted
// ones neither while others wait (G-16). It is nil before the first discovery.
func found(s *resourcev1.Server) *resourcev1.ServerStatus {
	full := s.GetStatus()
	if full.GetProtocolVersion() == "" && len(full.GetCapabilities()) == 0 {
		return nil
	}
	out := &resourcev1.ServerStatus{
		ProtocolVersion: full.GetProtocolVersion(), Capabilities: full.GetCapabilities(), Instructions: full.GetInstructions(),
		Prompts: full.GetPrompts(), Templates: full.GetTemplates(), ResourceAuthorities: full.GetResourceAuthorities(),
		Sse: full.GetSse(),
	}
	if full.GetPendingInstructionsHash() != "" && s.GetToolChanges() == resourcev1.ToolChanges_TOOL_CHANGES_HOLD {
		out.Instructions = ""
	}
	return out
}

// decode is strict: a field this build does not know may be a restriction, and a restriction must not be dropped.
func decode(rec *catalog.Record, m proto.Message) error {
	return protojson.UnmarshalOptions{}.Unmarshal(rec.Body, m)
}

// Everywhere reports whether resources of the kind go to every node (D-12).
func Everywhere(k catalog.Kind) bool {
	switch k {
	case catalog.KindTeam, catalog.KindUser, catalog.KindBearerToken, resource.KindIdentityProvider, resource.KindOAuthClient,
		catalog.KindPolicy, catalog.KindResultPolicy:
		return true
	default:
		return false
	}
}
