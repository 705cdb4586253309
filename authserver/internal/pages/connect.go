// SPDX-License-Identifier: Apache-2.0

package pages

// ConnectPage asks a person for her credential for a server (UP-10). Its form posts to Action with the field "csrf" and those
// of Fields. What was typed is never shown again.
type ConnectPage struct {
	Server  string // title
	Host    string // that the credential is sent to, and no other
	Gateway string // title of the gateway that a call came to; empty: the person asked for the link
	Client  string // client_id of the app that the call came from; empty: none
	Person  string // who is logged in, for people
	Action  string
	CSRF    string
	Fields  []SecretField // none: the form leads on to an authorization server, or to the identity provider
	// Provider is the title of the identity provider whose account Penstock acts with at the server; empty: none. Then there are no
	// fields.
	Provider string
	Error    string // what is wrong with what was typed; empty: nothing
}

// SecretField is one value that is asked for.
type SecretField struct {
	ID   string // of the input, also its name
	Name string // of the header
	Hint string // what to type; may be empty
}

func (p ConnectPage) view() view {
	return view{template: "connect", title: "Connect " + p.Server, data: p}
}
