// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// prefix is what the names begin with under which the vault has what is kept: no connection has such a name.
	prefix = "subject:"
	// version is the only one of what is kept.
	version = "login"

	// margin is how long before its end a token is not given out any more, and twice it when it is renewed. A token of less than ten
	// minutes has a tenth of its life.
	margin = time.Minute
)

// owner is whose tokens of which provider they are.
type owner struct {
	user string // uid
	p    *directory.Provider
}

// key is what the tokens are sealed for (SE-2). Neither uid has a colon.
func (o owner) key() string { return prefix + o.user + ":" + o.p.UID }

// split returns the uids of user and provider that a key is made of.
func split(key string) (user, provider string) {
	user, provider, _ = strings.Cut(strings.TrimPrefix(key, prefix), ":")
	return user, provider
}

// kept is what the vault has of a login.
type kept struct {
	Issuer  string `json:"iss"`
	Client  string `json:"client_id"`
	Subject string `json:"sub"`
	Nonce   string `json:"nonce"`

	Access    string    `json:"access_token,omitempty"`
	Expires   time.Time `json:"expires,omitzero"` // of Access; zero: the provider did not say
	ID        string    `json:"id_token,omitempty"`
	IDExpires time.Time `json:"id_expires,omitzero"`
	Refresh   string    `json:"refresh_token,omitempty"`
	Obtained  time.Time `json:"obtained"`
	Refreshed time.Time `json:"refreshed,omitzero"`

	IDOnce bool              `json:"id_once,omitempty"` // refresh tokens give no ID tokens: there is one of each login
	Due    directory.Subject `json:"due,omitempty"`     // a token of the kind was refused: it is renewed first
	Wanted *StepUp           `json:"wanted,omitempty"`  // by the provider, before it gives anything more
	Dead   bool              `json:"dead,omitempty"`
}

// end takes the tokens out of what is over.
func (l *kept) end() {
	l.Dead, l.Access, l.ID, l.Refresh = true, "", "", ""
}

// value returns the token of a kind, empty if there is none.
func (l *kept) value(kind directory.Subject) string {
	switch kind {
	case directory.SubjectIDToken:
		return l.ID
	case directory.SubjectRefreshToken:
		return l.Refresh
	default:
		return l.Access
	}
}

// expires returns the end of the token of a kind; zero: it is not known.
func (l *kept) expires(kind directory.Subject) time.Time {
	switch kind {
	case directory.SubjectIDToken:
		return l.IDExpires
	case directory.SubjectRefreshToken:
		return time.Time{}
	default:
		return l.Expires
	}
}

// isUsable reports whether a token of a kind can still be given out.
func (l *kept) isUsable(kind directory.Subject, now time.Time) bool {
	end := l.expires(kind)
	return l.value(kind) != "" && l.Due != kind && (end.IsZero() || now.Before(end))
}

// isGood reports whether a token of a kind is to be given out without asking for another one.
func (l *kept) isGood(kind directory.Subject, now time.Time) bool {
	end := l.expires(kind)
	if !l.isUsable(kind, now) || end.IsZero() {
		return l.isUsable(kind, now)
	}
	began := l.Obtained
	if !l.Refreshed.IsZero() {
		began = l.Refreshed
	}
	return now.Before(end.Add(-2 * min(margin, end.Sub(began)/10)))
}

// isRenewable reports whether there can be another token of a kind without a login.
func (l *kept) isRenewable(kind directory.Subject) bool {
	return l.Refresh != "" && (kind != directory.SubjectIDToken || !l.IDOnce)
}

func (l *kept) secret() (vault.Secret, error) {
	text, err := json.Marshal(l) //nolint:gosec // it is sealed next
	if err != nil {
		return vault.Secret{}, errors.New("encode the tokens of a login") // the encoder's error could quote them
	}
	return vault.Secret{Grant: obs.Secret(text)}, nil
}

func keptOf(s vault.Secret) (*kept, error) {
	l := &kept{}
	if err := json.Unmarshal([]byte(s.Grant.Reveal()), l); err != nil {
		return nil, errors.New("decode the tokens of a login: their form is unknown")
	}
	return l, nil
}
