// SPDX-License-Identifier: Apache-2.0

package pages

// ConsentPage asks whether a client may act for a person (AZ-12). Its form posts to its own address with the fields
// "request", "csrf", "seen" and "decision", which is "allow" or "deny".
type ConsentPage struct {
	Destination Destination
	Person      string // who is logged in, for people
	Scopes      []Scope
	Request     string
	CSRF        string
	Seen        string // what the page was about
}

// Scope is a scope with its meaning.
type Scope struct {
	Name string // "mcp"
	Text string // plain words
}

// ErrorPage says what went wrong and what to do (AU-6: the request's identifier is shown with it).
type ErrorPage struct {
	Title string // "The request cannot be used"
	Text  string // what to do
	Code  string // of OAuth, small, for whoever looks into it; may be empty
	Links []Link
}

// ButtonPage tells a person of an error and lets her take it back to the client (AZ-23).
type ButtonPage struct {
	Destination Destination
	Title, Text string
	Code        string // of OAuth
	URL         string // validated redirect URI with the error
}

// OpenPage leads to an app by a scheme of its own (AZ-18).
type OpenPage struct {
	Destination Destination
	Refused     bool   // the app is told that it may not
	URL         string // validated redirect URI with the answer
}

// AccountPage shows a person what has access in her name. The forms of apps post to RevokeAction with the fields "client",
// "gateway" and "csrf"; the log-out form posts to LogoutAction with "csrf".
type AccountPage struct {
	Person       string
	Apps         []App
	RevokeAction string
	LogoutAction string
	LogoutCSRF   string
	Notice       string // what was just done; empty: nothing
}

// App is a client that may use a gateway.
type App struct {
	Client    string // client_id
	GatewayID string // uid
	CSRF      string

	Name     string   // as it called itself
	Host     string   // of a client with a metadata document; may be empty
	Answers  []string // redirect hosts, for people
	Gateway  string   // title
	Scopes   []Scope
	Since    string // "28 November 2026"
	LastUsed string // the same, or empty
}

// NoticePage says that something is done.
type NoticePage struct {
	Title, Text string
	Links       []Link
}

// Link is a link within the authserver: a whole path, [Base] included.
type Link struct{ Text, URL string }
