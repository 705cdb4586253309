// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Headers of a forwarded request and of what is answered to it. No client's header has such a name when it is forwarded, and
// no answer's reaches a client.
const (
	headerFrom      = "Penstock-Forwarded-By" // name of the node that forwards: the marker of the one hop
	headerWhy       = "Penstock-Forward-Reason"
	headerGateway   = "Penstock-Gateway"
	headerPrincipal = "Penstock-Principal"
	headerFault     = "Penstock-Forward-Fault" // of an answer that is none of the edge's
)

// Why a request is forwarded; also the values of the metric's label.
const (
	WhyAnswer  = "answer"  // the response to a question of that node, or progress of it (M-12)
	WhyMessage = "message" // for the stream of an HTTP+SSE session (M-44)
	WhyResume  = "resume"  // of a stream of that node (M-40)
	WhyHeld    = "held"    // retry of a call that it holds (M-78)
	WhyHome    = "home"    // call for a process or session that lives there (M-94)
)

// held reports whether a node takes requests for the reason while it drains: they are for what it has already (M-95).
func held(why string) bool { return why != WhyHome }

func isReason(why string) bool {
	return slices.Contains([]string{WhyAnswer, WhyMessage, WhyResume, WhyHeld, WhyHome}, why)
}

// Carried is what comes with a forwarded request.
type Carried struct {
	From       string // node
	Why        string
	GatewayUID string
	Principal  ident.Principal // as the other node has verified it
}

// principal is ident.Principal on the wire. It has a form of its own, so that a field that is added there is not sent
// without somebody deciding so.
type principal struct {
	Kind     ident.Kind `json:"kind"`
	UID      string     `json:"uid"`
	Name     string     `json:"name,omitempty"`
	Method   string     `json:"method"`
	TokenID  string     `json:"token_id,omitempty"`
	ClientID string     `json:"client_id,omitempty"`
	Scopes   []string   `json:"scopes"`
	Expires  int64      `json:"expires,omitempty"` // seconds since 1970

	// Claims are there only where a policy reads them, which admission lets nobody write while a node is there that would refuse them.
	Claims json.RawMessage `json:"claims,omitempty"`
}

func encodePrincipal(p ident.Principal) string {
	out := principal{
		Kind: p.Kind, UID: p.UID, Name: p.Name, Method: p.Method, TokenID: p.TokenID, ClientID: p.ClientID, Scopes: p.Scopes,
		Claims: p.Claims,
	}
	if !p.Expires.IsZero() {
		out.Expires = p.Expires.Unix()
	}
	raw, _ := json.Marshal(out) // strings, a number and what was JSON before: it cannot fail
	return base64.RawURLEncoding.EncodeToString(raw)
}

var (
	errPrincipal = errors.New("the principal is not readable")
	errMarker    = errors.New("the request is not marked as one that its peer forwards")
)

// decodePrincipal refuses fields that it does not know: one of them may say what the principal must not do.
func decodePrincipal(text string) (ident.Principal, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return ident.Principal{}, errPrincipal
	}
	var in principal
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return ident.Principal{}, errPrincipal
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ident.Principal{}, errPrincipal
	}
	kinds := []ident.Kind{ident.KindUser, ident.KindTeam, ident.KindOrganization, ident.KindServiceAccount}
	if !slices.Contains(kinds, in.Kind) || in.UID == "" {
		return ident.Principal{}, errPrincipal
	}
	p := ident.Principal{
		Kind: in.Kind, UID: in.UID, Name: in.Name, Method: in.Method, TokenID: in.TokenID, ClientID: in.ClientID, Scopes: in.Scopes,
		Claims: in.Claims,
	}
	if in.Expires != 0 {
		p.Expires = time.Unix(in.Expires, 0)
	}
	return p, nil
}
