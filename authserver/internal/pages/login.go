// SPDX-License-Identifier: Apache-2.0

package pages

// Destination is what a person is asked to log in to or to allow. Names that a client gave itself are untrusted; templates
// escape them.
type Destination struct {
	Client       string // name the client gave itself
	ClientHost   string // host of the client_id of a client with a metadata document: proven; empty for other clients
	Registered   bool   // an administrator registered the client: its name is not just its own word
	RedirectHost string // where the answer goes, for people: "client.example", "localhost", "cursor:"
	Loopback     bool   // the answer goes to a program on this computer
	App          bool   // the answer goes to an app by a scheme of its own
	Gateway      string // title; empty while it is not known, because the client named none
	Fresh        bool   // asks for a new login, even of somebody who is logged in (prompt=login)
	Server       string // title of the server that a credential is asked for; then all the rest is empty
	// FormAction is the CSP source of the redirect URI, for [Page.FormAction]: a browser checks every redirect that follows a
	// form (AZ-16). LoginPage adds it by itself.
	FormAction string
}

// LoginPage asks who somebody is. Its buttons also approve that the login is for the client that it names (AZ-11).
//
// Forms post to [LoginPage.PasswordAction] with the fields "email" and "password", and to [LoginButton.Action]; all have the
// fields "csrf" and "request".
type LoginPage struct {
	Destination    *Destination // nil: nobody asked, the person came by herself
	Buttons        []LoginButton
	PasswordAction string // path that the form of local users posts to; empty: there is none
	Email          string // what was typed before
	CSRF           string
	Request        string // secret of the waiting authorization request; empty: none
	Error          string // what went wrong before; empty: nothing
}

// LoginButton leads to an identity provider. Whoever answers its form leads on with an [AwayPage] and not with a redirect:
// browsers check form-action against every hop of a redirect, and the hops of an identity provider are not known.
type LoginButton struct {
	Title  string // display name of the identity provider
	Action string // path that it posts to
}

// AwayPage leads a browser to an identity provider without a click, and shows a link if that does not work.
type AwayPage struct {
	Title string // of the identity provider
	URL   string // absolute, https (or http on loopback)
}
