// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonInvalidPageToken (Invalid): a page token is not one that a list gave for the same request.
const ReasonInvalidPageToken = "INVALID_PAGE_TOKEN"

// Request is what a page token is bound to: it goes on with the list it came from and with no other.
type Request struct {
	Kind, Filter string
	Deleted      bool
}

// token is the content of a page token. Callers must not look into it.
type token struct {
	Of    []byte `json:"o"`
	After string `json:"a"`
}

func (r Request) digest() []byte {
	b, _ := json.Marshal(r) // strings and a bool
	sum := sha256.Sum256(b)
	return sum[:8]
}

// Token returns the page token that goes on after a name.
func (r Request) Token(after string) string {
	b, _ := json.Marshal(token{Of: r.digest(), After: after}) // bytes and a string
	return base64.RawURLEncoding.EncodeToString(b)
}

// After returns the name that a page token goes on after, empty for an empty token.
func (r Request) After(pageToken string) (string, error) {
	if pageToken == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(pageToken)
	var t token
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	switch {
	case err != nil || t.After == "":
		return "", refuse("it was not made by a list").Because(err)
	case string(t.Of) != string(r.digest()):
		return "", refuse("it belongs to a list of another kind, filter or show_deleted; send them unchanged")
	default:
		return t.After, nil
	}
}

func refuse(why string) *fault.Fault {
	return fault.Newf(fault.Invalid, ReasonInvalidPageToken, "The page token cannot be used: %s.", why).At("page_token", why)
}
