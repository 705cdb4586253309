// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// forServers is what a node must know of a credential of which only the authserver knows how it is got; nil for all others, which
// nodes know whole.
func forServers(c *resourcev1.ServerCredential) *resourcev1.ServerCredential {
	out := &resourcev1.ServerCredential{Version: c.GetVersion()}
	switch k := c.GetKind().(type) {
	case *resourcev1.ServerCredential_Oauth:
		out.Kind = &resourcev1.ServerCredential_Oauth{Oauth: &resourcev1.OAuthCredential{}}
	case *resourcev1.ServerCredential_OauthClientCredentials:
		out.Kind = &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{}}
	case *resourcev1.ServerCredential_TokenExchange:
		out.Kind = &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
			IdentityProvider: k.TokenExchange.GetIdentityProvider(), SubjectToken: subjectOf(k.TokenExchange),
		}}
	case *resourcev1.ServerCredential_CallerIdpToken:
		out.Kind = &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{
			IdentityProvider: k.CallerIdpToken.GetIdentityProvider(),
		}}
	default:
		return nil
	}
	return out
}

// subjectOf is the kind of token that is exchanged. Where it is an access token, nodes hand on those that callers present, of that
// identity provider and no other (JW-13).
func subjectOf(x *resourcev1.TokenExchange) resourcev1.SubjectToken {
	switch {
	case x.GetSubjectToken() != resourcev1.SubjectToken_SUBJECT_TOKEN_UNSPECIFIED:
		return x.GetSubjectToken()
	case x.GetGrant() == resourcev1.ExchangeGrant_EXCHANGE_GRANT_ID_JAG:
		return resourcev1.SubjectToken_SUBJECT_TOKEN_ID_TOKEN
	default:
		return resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN
	}
}

// withoutSecret takes out what is never stored, and never sent, whatever is stored (D-84).
func withoutSecret(c *resourcev1.ServerCredential) {
	switch k := c.GetKind().(type) {
	case *resourcev1.ServerCredential_Oauth:
		k.Oauth.ClientSecret = ""
	case *resourcev1.ServerCredential_OauthClientCredentials:
		k.OauthClientCredentials.ClientSecret = ""
	case *resourcev1.ServerCredential_TokenExchange:
		k.TokenExchange.ClientSecret = ""
	}
}

// setVersion sets the version of a credential that Penstock makes: nodes and authservers compare it, and what a node keeps of
// another version is of no use to it. The server's address is part of it: a credential goes to no other one than it was made for
// (UP-3).
func setVersion(s *resourcev1.Server) error {
	c := s.GetCredential()
	if c == nil {
		return nil
	}
	c.Version = ""
	switch c.GetKind().(type) {
	case *resourcev1.ServerCredential_OauthClientCredentials, *resourcev1.ServerCredential_TokenExchange,
		*resourcev1.ServerCredential_CallerIdpToken:
	default:
		return nil
	}
	of := &resourcev1.Server{Transport: s.GetTransport(), Credential: c}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(of)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	c.Version = "m_" + hex.EncodeToString(sum[:16])
	return nil
}

// ForDiscovery leaves in a server what a node may know that is to list what the server has, with the version of its credential.
func ForDiscovery(s *resourcev1.Server) error {
	withoutSecret(s.GetCredential())
	if err := setVersion(s); err != nil {
		return err
	}
	if c := forServers(s.GetCredential()); c != nil {
		s.Credential = c
	}
	return nil
}
