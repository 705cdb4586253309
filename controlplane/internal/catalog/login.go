// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Catalog.LoginUser].
const (
	// ReasonLoginNotAllowed (Denied): nobody has the account, and the identity provider may neither make nor link a user.
	ReasonLoginNotAllowed = "LOGIN_NOT_ALLOWED"
	// ReasonUserDeactivated (Denied): the user is shut out.
	ReasonUserDeactivated = "USER_DEACTIVATED"
)

const (
	mostIdentities = 16     // of a user
	mostMembers    = 10_000 // of a team
	mostName       = 128    // characters of a display name
)

// Login is an account that has just proved itself at an identity provider.
type Login struct {
	Provider      string // name
	Subject       string
	Email         string // empty if the provider gave none
	EmailVerified bool
	DisplayName   string
	Groups        []string
	GroupsKnown   bool   // Groups is complete; without it teams stay as they are
	Actor         string // what the revision log keeps as who did it
}

// LoggedIn is the user of a login.
type LoggedIn struct {
	UserUID string
	User    string // e-mail address
	// Revision has what the login changed; 0 if it changed nothing.
	Revision Revision
	// FullTeams are teams that the groups would put the user in and that have no room left.
	FullTeams []string
}

// LoginUser finds the user of an account by issuer and subject; else joins the account to the user with its verified
// e-mail address, or makes a user, where the identity provider may (AZ-24). It brings the user's teams in line with the
// account's groups: those the provider maps, and no others. All of it is one change, and none if nothing differs; first
// logins of one account at the same moment make one user. The faults are Denied with reason LOGIN_NOT_ALLOWED or
// USER_DEACTIVATED, and those of the store.
func (c *Catalog) LoginUser(ctx context.Context, in Login) (LoggedIn, error) {
	in.Email = resource.NormalizeName(KindUser, in.Email)
	var out LoggedIn
	run := func(tx Tx) (err error) {
		l := &login{Login: in, draft: &draft{Draft: desk.NewDraft(tx, Caller{System: true}), c: c}}
		out, err = l.run(ctx)
		return err
	}
	// Nearly every login changes nothing, and so needs no turn among the writers.
	err := c.cfg.Store.Read(ctx, func(_ Head, r Reader) error { return run(onlyReads{r}) })
	if err == nil {
		return out, nil
	}
	if !errors.Is(err, errWrites) {
		return LoggedIn{}, err
	}
	rev, changed, err := c.inTurn(ctx, in.Actor, run)
	if err != nil {
		return LoggedIn{}, err
	}
	if changed {
		out.Revision = rev
	}
	return out, nil
}

// inTurn writes what people do at the authserver, one after the other: a whole organisation that logs in for the first time would be
// in its own way.
func (c *Catalog) inTurn(ctx context.Context, actor string, run func(Tx) error) (Revision, bool, error) {
	select {
	case <-c.logins:
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	defer func() { c.logins <- struct{}{} }()
	return c.cfg.Store.Write(ctx, actor, run)
}

// errWrites says that a command that mostly changes nothing does.
var errWrites = errors.New("this changes something")

// onlyReads is a transaction that ends at the first write.
type onlyReads struct{ Reader }

// Put implements record.Tx.
func (onlyReads) Put(context.Context, *Record) error { return errWrites }

// Delete implements record.Tx.
func (onlyReads) Delete(context.Context, Key) error { return errWrites }

// PutBlob implements record.Tx.
func (onlyReads) PutBlob(context.Context, []byte) (Hash, error) { return Hash{}, errWrites }

// Deny implements record.Tx. It alone changes nothing.
func (onlyReads) Deny(Key) {}

// SetAtomic implements record.Tx.
func (onlyReads) SetAtomic() {}

// SetStaged implements record.Tx.
func (onlyReads) SetStaged() {}

// SetRollback implements record.Tx.
func (onlyReads) SetRollback(Revision) {}

// Head implements record.Tx. No login asks for it.
func (onlyReads) Head() Head { return Head{} }

// login is a login in a transaction.
type login struct {
	Login

	*draft
	provider *IdentityProvider
}

func (l *login) run(ctx context.Context) (LoggedIn, error) {
	var err error
	l.provider, err = desk.Find[*IdentityProvider](ctx, l.Desk, KindIdentityProvider, l.Provider)
	if err != nil {
		return LoggedIn{}, err
	}
	if l.provider == nil || l.provider.Disabled {
		return LoggedIn{}, notAllowed("The identity provider may not be used to log in.")
	}
	u, err := l.user(ctx)
	if err != nil {
		return LoggedIn{}, err
	}
	if u.Deactivated {
		return LoggedIn{}, fault.New(fault.Denied, ReasonUserDeactivated, "The user is deactivated; ask an administrator.")
	}
	out := LoggedIn{UserUID: u.UID, User: u.Name}
	if l.GroupsKnown {
		out.FullTeams, err = l.teams(ctx, u.Name)
	}
	return out, err
}

func (l *login) identity() resource.Identity {
	return resource.Identity{Issuer: l.provider.Issuer, Subject: l.Subject}
}

// user returns the user of the account: the one who has it, else one that gets it.
func (l *login) user(ctx context.Context) (*User, error) {
	var named *User // has the address, which says nothing yet
	if l.Email != "" {
		var err error
		if named, err = desk.Find[*User](ctx, l.Desk, KindUser, l.Email); err != nil {
			return nil, err
		}
		// Mostly the address is still the one of the user: then nobody else has to be looked at.
		if named != nil && slices.Contains(named.Identities, l.identity()) {
			return named, nil
		}
	}
	accounts, err := l.Identities(ctx)
	if err != nil {
		return nil, err
	}
	if name, ok := accounts[l.identity()]; ok {
		return desk.Find[*User](ctx, l.Desk, KindUser, name)
	}
	if err := l.mayAdmit(named); err != nil {
		return nil, err
	}
	if err := l.first(ctx, named); err != nil {
		return nil, err
	}
	return desk.Find[*User](ctx, l.Desk, KindUser, l.Email)
}

// mayAdmit decides about an account that nobody has. Named is the user with its e-mail address, if there is one.
func (l *login) mayAdmit(named *User) error {
	switch {
	case l.Email == "" || !l.EmailVerified && !l.provider.TrustedEmailAddresses:
		// An address that nobody verified says who somebody claims to be. That some providers verify all and say nothing of
		// it is for an administrator to know.
		return notAllowed("No user has this account, and the identity provider vouches for no e-mail address.")
	case !l.inDomain():
		return notAllowed("No user has this account, and its e-mail domain is not one of those that may join.")
	case named == nil && !l.provider.JustInTimeUsers:
		return notAllowed("There is no such user; ask an administrator to add you.")
	case named != nil && !l.provider.LinkByEmail:
		return notAllowed("The user with this e-mail address is not linked to this account; ask an administrator to link it.")
	case named != nil && named.Deactivated:
		return nil // refused for that reason, and not linked
	case named != nil && slices.ContainsFunc(named.Identities, func(i resource.Identity) bool { return i.Issuer == l.provider.Issuer }):
		// A provider that gives the address to another account may have given it to another person.
		return notAllowed("The user with this e-mail address has another account at this identity provider; ask an administrator to link this one.")
	case named != nil && len(named.Identities) >= mostIdentities:
		return notAllowed("The user with this e-mail address has too many accounts; ask an administrator to remove some.")
	}
	return nil
}

func (l *login) inDomain() bool {
	_, domain, _ := strings.Cut(l.Email, "@")
	return len(l.provider.EmailDomains) == 0 || slices.Contains(l.provider.EmailDomains, domain)
}

// first gives the account to the user with its address, or to a new one.
func (l *login) first(ctx context.Context, named *User) error {
	if named != nil && named.Deactivated {
		return nil
	}
	var err error
	if named == nil {
		err = l.create(ctx, &User{
			Meta: Meta{Name: l.Email}, DisplayName: displayName(l.DisplayName), Role: RoleMember, Identities: []resource.Identity{l.identity()},
		})
	} else {
		_, err = l.update(ctx, &User{
			Meta: Meta{Name: l.Email}, Identities: append(slices.Clone(named.Identities), l.identity()),
		}, []string{"identities"})
	}
	if f := fault.From(err); err != nil && f.Kind == fault.Invalid {
		return notAllowed("No user can be made or linked with what the identity provider says of this account.").Because(err)
	}
	return err
}

// displayName makes what a provider says fit for a name: a login does not fail for it.
func displayName(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "")))
	if runes := []rune(text); len(runes) > mostName {
		text = string(runes[:mostName])
	}
	return text
}

// teams puts the user into the teams that its groups are mapped to, and takes it out of the other teams that the provider
// maps. It returns those that were full.
func (l *login) teams(ctx context.Context, user string) (full []string, err error) {
	grants := make(map[string]bool) // of each mapped team
	for _, m := range l.provider.GroupMappings {
		grants[m.Team] = grants[m.Team] || slices.Contains(l.Groups, m.Group)
	}
	for _, name := range slices.Sorted(maps.Keys(grants)) {
		t, err := desk.Find[*Team](ctx, l.Desk, KindTeam, name)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue // deleted: the mapping is for nothing
		}
		is := slices.ContainsFunc(t.Members, func(m resource.TeamMember) bool { return m.User == user })
		members := slices.Clone(t.Members)
		switch {
		case is == grants[name]:
			continue
		case is:
			members = slices.DeleteFunc(members, func(m resource.TeamMember) bool { return m.User == user })
		case len(members) >= mostMembers:
			full = append(full, name)
			continue
		default:
			members = append(members, resource.TeamMember{User: user, Role: RoleMember})
		}
		if _, err := l.update(ctx, &Team{Meta: Meta{Name: name}, Members: members}, []string{"members"}); err != nil {
			return nil, err
		}
	}
	return full, nil
}

func notAllowed(text string) *fault.Fault {
	return fault.New(fault.Denied, ReasonLoginNotAllowed, text)
}
