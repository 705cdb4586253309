// SPDX-License-Identifier: Apache-2.0

package pages_test

import "github.com/penstockhq/penstock/authserver/internal/pages"

func cimd() pages.Destination {
	return pages.Destination{
		Client: "Claude", ClientHost: "evil.example", RedirectHost: "localhost", Loopback: true,
		Gateway: "Engineering", FormAction: "http://localhost:51004",
	}
}

func web() pages.Destination {
	return pages.Destination{
		Client: `<script>alert("Acme")</script>`, RedirectHost: "client.example", Gateway: "Engineering", FormAction: "https://client.example",
	}
}

func app() pages.Destination {
	return pages.Destination{Client: "Cursor", RedirectHost: "cursor:", App: true, Gateway: "Engineering", FormAction: "cursor:"}
}

// samples are all pages, by the name of their golden file.
func samples() map[string]pages.Page {
	d, w := cimd(), web()
	scopes := pages.Scopes([]string{"mcp", "mcp:write", "offline_access"})
	return map[string]pages.Page{
		"login": {Body: pages.LoginPage{
			Destination: &w, Buttons: []pages.LoginButton{{Title: "Okta", Action: "/login/okta"}, {Title: "Google", Action: "/login/google"}},
			PasswordAction: "/login", Email: "ada@example.com", CSRF: "token", Request: "psq_secret", Error: "The e-mail address or the password is wrong.",
		}},
		"login-provider": {Body: pages.LoginPage{
			Destination: &d, Buttons: []pages.LoginButton{{Title: "Okta", Action: "/login/okta"}}, CSRF: "token", Request: "psq_secret",
		}},
		"login-alone": {Body: pages.LoginPage{PasswordAction: "/login", CSRF: "token"}},
		"login-none":  {Body: pages.LoginPage{CSRF: "token"}},
		"away":        {Body: pages.AwayPage{Title: "Okta", URL: "https://acme.okta.example/authorize?client_id=a&state=b"}},
		"consent": {Body: pages.ConsentPage{
			Destination: d, Person: "Ada Lovelace", Scopes: scopes, Request: "psq_secret", CSRF: "token", Seen: "seen",
		}},
		"consent-escaped": {Body: pages.ConsentPage{
			Destination: w, Person: "Ada Lovelace", Scopes: scopes[:1], Request: "psq_secret", CSRF: "token", Seen: "seen",
		}},
		"consent-app": {Body: pages.ConsentPage{
			Destination: app(), Person: "ada@example.com", Scopes: scopes[:1], Request: "psq_secret", CSRF: "token", Seen: "seen",
		}, Base: "/t1"},
		"login-connect": {Body: pages.LoginPage{
			Destination: &pages.Destination{Server: "GitHub <Enterprise>"}, Buttons: []pages.LoginButton{{Title: "Okta", Action: "/login/okta"}},
			CSRF: "token", Request: "link",
		}},
		"connect": {Body: pages.ConnectPage{
			Server: "GitHub <Enterprise>", Host: "mcp.github.example", Gateway: "Engineering", Client: `https://client.example/<c>.json`,
			Person: "Ada Lovelace", Action: "/t1/connect/id", CSRF: "token", Error: "Fill in every field.",
			Fields: []pages.SecretField{{ID: "header0", Name: "Authorization", Hint: "the whole value"}, {ID: "header1", Name: "X-Api-Key"}},
		}, Base: "/t1"},
		"connect-oauth": {Body: pages.ConnectPage{
			Server: "GitHub", Host: "mcp.github.example", Gateway: "Engineering", Person: "Ada Lovelace", Action: "/connect/id", CSRF: "token",
		}},
		"connect-asked": {Body: pages.ConnectPage{
			Server: "GitHub", Host: "mcp.github.example", Person: "Ada Lovelace", Action: "/connect/id", CSRF: "token",
		}},
		"connect-provider": {Body: pages.ConnectPage{
			Server: "GitHub", Host: "mcp.github.example", Gateway: "Engineering", Person: "Ada Lovelace", Action: "/connect/id", CSRF: "token",
			Provider: "Okta <Test>",
		}},
		"error": {Status: 400, Body: pages.ErrorPage{
			Title: "This app is not registered here", Text: "client not registered – remove and re-add the server.", Code: "invalid_client",
			Links: []pages.Link{{Text: "Your apps", URL: "/account"}},
		}},
		"button": {Status: 400, Body: pages.ButtonPage{
			Destination: w, Title: "The app cannot be connected", Text: "The gateway has no such scope.", Code: "invalid_scope",
			URL: "https://client.example/cb?error=invalid_scope&iss=https%3A%2F%2Fauth.example.com&state=x",
		}},
		"open":        {Body: pages.OpenPage{Destination: app(), URL: "cursor://anysphere.cursor-mcp/oauth/callback?code=psa_code&state=x"}},
		"open-denied": {Body: pages.OpenPage{Destination: app(), Refused: true, URL: "cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied"}},
		"account": {Body: pages.AccountPage{
			Person: "Ada Lovelace", RevokeAction: "/account/revoke", LogoutAction: "/logout", LogoutCSRF: "out", Notice: "The app no longer has access.",
			Apps: []pages.App{
				{
					Client: "https://claude.ai/oauth/claude-code-client-metadata", GatewayID: "g1", CSRF: "one", Name: "Claude Code", Host: "claude.ai",
					Answers: []string{"localhost", "127.0.0.1"}, Gateway: "Engineering", Scopes: scopes, Since: "12 October 2026", LastUsed: "28 November 2026",
				},
				{Client: "c2", GatewayID: "g2", CSRF: "two", Answers: []string{"cursor:anysphere.cursor-mcp"}, Gateway: "Support", Scopes: scopes[:1], Since: "28 November 2026"},
			},
		}},
		"account-empty": {Body: pages.AccountPage{Person: "Ada Lovelace", LogoutAction: "/logout", LogoutCSRF: "out"}},
		"notice":        {Body: pages.NoticePage{Title: "You are logged out", Text: "You can close this page.", Links: []pages.Link{{Text: "Log in again", URL: "/login"}}}},
	}
}
