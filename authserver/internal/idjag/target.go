// SPDX-License-Identifier: Apache-2.0

package idjag

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Scopes with a meaning of their own.
const (
	// scopeOffline asks for a refresh token. There is none for an assertion (JAG-15), so it has no meaning.
	scopeOffline = "offline_access"
	// maxScopes bounds a list of scopes.
	maxScopes = 1000
)

// target returns the gateway that an assertion is for (JAG-10, EMA §5.1): the one that it names, which the request may choose
// where it names several, and which takes assertions of the provider (JAG-14).
func target(view *directory.View, idp *directory.Provider, c claims, asked []string) (*directory.Gateway, error) {
	var named []*directory.Gateway
	for _, resource := range c.resource {
		g, ok := view.ParseResource(resource)
		if !ok {
			return nil, refuse("resource_unknown")
		}
		if !slices.Contains(named, g) { // one gateway has several forms (AZ-6)
			named = append(named, g)
		}
	}
	if !c.hasResource && (!idp.IDJAG.ResourceFromRequest || asked == nil) {
		return nil, refuse("resource_missing")
	}
	if asked != nil {
		chosen, err := chosen(view, asked)
		if err != nil {
			return nil, err
		}
		if c.hasResource && !slices.Contains(named, chosen) {
			return nil, wrongTarget("resource_differs")
		}
		named = []*directory.Gateway{chosen}
	}
	if len(named) != 1 { // a token is for one
		return nil, wrongTarget("resource_ambiguous")
	}
	if !view.TakesAssertions(named[0], idp.Name) {
		return nil, refuse("method_off")
	}
	return named[0], nil
}

// chosen returns the gateway of the resource parameter (RFC 8707 §2.2).
func chosen(view *directory.View, asked []string) (*directory.Gateway, error) {
	if len(asked) != 1 {
		return nil, wrongTarget("resource_repeated")
	}
	g, ok := view.ParseResource(asked[0])
	if !ok {
		return nil, wrongTarget("resource_unknown")
	}
	return g, nil
}

func wrongTarget(reason string) error {
	return oauthfault.New(oauthfault.InvalidTarget, "The resource must be one gateway that the assertion is for.").For(reason)
}

// scopes returns what is granted, sorted: requested ∩ claim ∩ gateway ∩ client (JAG-11). Without a request it is the claim.
// An assertion without the claim is for "mcp" (ours: the provider allowed nothing more). A scope of the claim that the gateway
// does not have refuses the assertion (EMA §7.6.2).
func scopes(g *directory.Gateway, c claims, q Request) ([]string, error) {
	claimed, ok := fields(c.scope)
	if !ok {
		return nil, refuse("scope_malformed")
	}
	if !c.hasScope {
		claimed = []string{compile.ScopeMCP}
	}
	for _, s := range claimed {
		if !slices.Contains(g.Scopes, s) {
			return nil, refuse("scope_unknown")
		}
	}
	asked, ok := fields(q.Scope)
	if !ok {
		return nil, oauthfault.New(oauthfault.InvalidScope, "The scope holds characters that are not allowed.").For("scope_malformed")
	}
	if q.Scope == "" {
		asked = claimed
	}
	var granted []string
	for _, s := range asked {
		if compile.HasScope(claimed, s) && slices.Contains(g.Scopes, s) && (len(q.May) == 0 || slices.Contains(q.May, s)) {
			granted = append(granted, s)
		}
	}
	if len(granted) == 0 {
		return nil, oauthfault.New(oauthfault.InvalidScope, "The assertion allows none of these scopes.").For("scope_empty")
	}
	slices.Sort(granted)
	return granted, nil
}

// fields returns the scopes of a text (RFC 6749 §3.3), each once, without that for refresh tokens.
func fields(text string) (list []string, ok bool) {
	for s := range strings.SplitSeq(text, " ") {
		if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) || len(list) > maxScopes {
			return nil, false
		}
		if s != "" && s != scopeOffline && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list, true
}
