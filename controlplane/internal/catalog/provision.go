// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of provisioning, beside those of commands and of admission.
const (
	// ReasonProvisioningNotAllowed (Denied): there is no such identity provider, or it is disabled.
	ReasonProvisioningNotAllowed = "PROVISIONING_NOT_ALLOWED"
	// ReasonProvisioningConflict (AlreadyExists): what is to be unique is another one's.
	ReasonProvisioningConflict = "PROVISIONING_CONFLICT"
	// ReasonProvisioningRefused (Invalid): nothing can be made of what the provider says.
	ReasonProvisioningRefused = "PROVISIONING_REFUSED"
	// ReasonProvisionedInactive (Precondition): the provider says that the user is not active, and only it can take that back.
	ReasonProvisionedInactive = "PROVISIONED_INACTIVE"
)

// ProvisionQuery asks for users or teams of an identity provider. Of UID, Name and ExternalID those that are set restrict
// the list; Name is compared in any case.
type ProvisionQuery struct {
	Provider, UID, Name, ExternalID string
	Skip, Count                     int
	WithoutMembers                  bool // of teams
}

// Provision is the whole state of a user at an identity provider. An empty UID makes a user. Email is of a new user only;
// empty takes UserName. With Signal it is about UID and Active alone: a security event says it, and not SCIM.
type Provision struct {
	Provider, UID, Etag                      string
	UserName, ExternalID, Email, DisplayName string
	Active, Deleted, Signal                  bool
}

// Provisioned is a user as its identity provider sees it.
type Provisioned struct {
	UID, Etag                                string
	UserName, ExternalID, Email, DisplayName string
	Active                                   bool
	CreateTime, UpdateTime                   time.Time
}

// provisioning is a command of an identity provider in a transaction.
type provisioning struct {
	*draft
	provider *IdentityProvider
}

func (c *Catalog) provisioning(ctx context.Context, tx Tx, provider string) (*provisioning, error) {
	p := &provisioning{draft: &draft{Draft: desk.NewDraft(tx, Caller{System: true}), c: c}}
	var err error
	if p.provider, err = desk.Find[*IdentityProvider](ctx, p.Desk, KindIdentityProvider, provider); err != nil {
		return nil, err
	}
	if p.provider == nil || p.provider.Disabled {
		return nil, fault.New(fault.Denied, ReasonProvisioningNotAllowed, "The identity provider may not provision anybody.")
	}
	return p, nil
}

// ProvisionedUsers returns a page of the users that an identity provider made or linked, in the order of their names, and
// how many there are: those it provisions, and those nobody provisions who have logged in with it. Those it has deleted are
// not among them. The faults are Denied with reason PROVISIONING_NOT_ALLOWED, and those of the store.
func (c *Catalog) ProvisionedUsers(ctx context.Context, q ProvisionQuery) (page []Provisioned, total int, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		page, total = nil, 0
		p, err := c.provisioning(ctx, onlyReads{r}, q.Provider)
		if err != nil {
			return err
		}
		users, err := p.users(ctx)
		if err != nil {
			return err
		}
		for _, u := range users {
			out := p.seen(u)
			if isGone(u) || q.UID != "" && q.UID != u.UID || q.ExternalID != "" && q.ExternalID != out.ExternalID ||
				q.Name != "" && !strings.EqualFold(q.Name, out.UserName) {
				continue
			}
			if total++; total > q.Skip && len(page) < q.Count {
				page = append(page, out)
			}
		}
		return nil
	})
	return page, total, err
}

// ProvisionUser makes a user, or brings one that the identity provider made or linked to the state that it tells. A user
// whom it has deleted comes back when it makes one with the same name or external identifier. A new user whose e-mail
// address is somebody's already is a conflict, unless the provider may link accounts by e-mail address and its addresses are
// trusted: then it could log in as that person, too. Revision is 0 if nothing changed. Faults: Denied, NotFound,
// AlreadyExists, Invalid, Conflict, Precondition, and those of the store.
func (c *Catalog) ProvisionUser(ctx context.Context, in Provision) (Provisioned, Revision, error) {
	var out Provisioned
	rev, changed, err := c.cfg.Store.Write(ctx, "scim:"+in.Provider, func(tx Tx) error {
		p, err := c.provisioning(ctx, tx, in.Provider)
		if err != nil {
			return err
		}
		name, err := p.provision(ctx, in)
		if err != nil {
			return err
		}
		u, err := desk.Find[*User](ctx, p.Desk, KindUser, name)
		if err != nil {
			return err
		}
		out = p.seen(u)
		return nil
	})
	if err != nil {
		return Provisioned{}, 0, err
	}
	if !changed {
		rev = 0
	}
	return out, rev, nil
}

// users returns the users that the provider made or linked, with those it has deleted.
func (p *provisioning) users(ctx context.Context) ([]*User, error) {
	all, err := desk.All[*User](ctx, p.Desk, KindUser)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(u *User) bool { return !p.owns(u) }), nil
}

// owns reports whether a user is the provider's: the one that provisions somebody has them for itself.
func (p *provisioning) owns(u *User) bool {
	if u.Provisioning != nil {
		return u.Provisioning.Of(p.provider.Name)
	}
	return slices.ContainsFunc(u.Identities, func(i resource.Identity) bool { return i.Issuer == p.provider.Issuer })
}

func isGone(u *User) bool { return u.Provisioning != nil && u.Provisioning.Deleted }

// seen returns a user as the provider sees it.
func (p *provisioning) seen(u *User) Provisioned {
	out := Provisioned{
		UID: u.UID, Etag: u.Etag, UserName: u.Name, Email: u.Name, DisplayName: u.DisplayName, Active: !u.Deactivated,
		CreateTime: u.CreateTime, UpdateTime: u.UpdateTime,
	}
	if u.Provisioning != nil {
		out.UserName, out.ExternalID = u.Provisioning.Name, u.Provisioning.ExternalID
	}
	return out
}

// provision does what [Catalog.ProvisionUser] says and returns the user's name.
func (p *provisioning) provision(ctx context.Context, in Provision) (string, error) {
	users, err := p.users(ctx)
	if err != nil {
		return "", err
	}
	u, err := p.whom(ctx, in, users)
	if err != nil {
		return "", err
	}
	switch {
	case in.Signal && (u == nil || in.UID == ""):
		return "", refused("A security event is about a user that there is.")
	case in.Signal:
		return u.Name, p.signal(ctx, u, in.Active)
	case u == nil:
		return p.makeUser(ctx, in)
	}
	for _, other := range users {
		if other.UID != u.UID && !isGone(other) && p.sameAs(other, in) {
			return "", taken("The identity provider has another user with this userName or externalId.")
		}
	}
	return u.Name, p.bring(ctx, u, in)
}

// whom returns the user that a request is about, nil if it is a new one.
func (p *provisioning) whom(ctx context.Context, in Provision, users []*User) (*User, error) {
	if in.UID != "" {
		i := slices.IndexFunc(users, func(u *User) bool { return u.UID == in.UID && !isGone(u) })
		if i < 0 {
			return nil, desk.NotFound(KindUser, in.UID)
		}
		return users[i], desk.Fresh(users[i], in.Etag)
	}
	name := p.address(in)
	named, err := desk.Find[*User](ctx, p.Desk, KindUser, name)
	if err != nil {
		return nil, err
	}
	var gone *User
	for _, u := range users {
		switch {
		case !p.sameAs(u, in) && u.Name != name:
		case !isGone(u):
			return nil, taken("The identity provider has this user already.")
		case gone == nil || u.Name == name:
			gone = u
		}
	}
	switch {
	case named == nil || gone != nil && gone.Name == name:
		return gone, nil
	case p.mayLink(named):
		return named, nil
	}
	return nil, taken("The e-mail address is that of a user that this identity provider neither made nor linked; an administrator can link them (link_by_email and trusted_email_addresses of the identity provider).")
}

// sameAs reports whether a user has the name or the external identifier of a request.
func (p *provisioning) sameAs(u *User, in Provision) bool {
	as := p.seen(u)
	return strings.EqualFold(as.UserName, in.UserName) || in.ExternalID != "" && as.ExternalID == in.ExternalID
}

// address returns the e-mail address that a new user is to have.
func (p *provisioning) address(in Provision) string {
	if in.Email != "" {
		return resource.NormalizeName(KindUser, in.Email)
	}
	return resource.NormalizeName(KindUser, in.UserName)
}

// mayLink reports whether the provider may take somebody for its own by the e-mail address alone.
func (p *provisioning) mayLink(u *User) bool {
	return u.Provisioning == nil && p.provider.LinkByEmail && p.provider.TrustedEmailAddresses && inDomain(p.provider, u.Name)
}

func inDomain(p *IdentityProvider, email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return len(p.EmailDomains) == 0 || slices.Contains(p.EmailDomains, domain)
}

func (p *provisioning) makeUser(ctx context.Context, in Provision) (string, error) {
	email := p.address(in)
	if !inDomain(p.provider, email) {
		return "", refused("The e-mail domain is not one of those that may join (email_domains of the identity provider).")
	}
	err := p.create(ctx, &User{
		Meta: Meta{Name: email}, DisplayName: displayName(in.DisplayName), Role: RoleMember, Deactivated: !in.Active,
		Provisioning: &resource.Provisioning{
			IdentityProvider: p.provider.Name, ExternalID: in.ExternalID, Name: in.UserName, Inactive: !in.Active,
		},
	})
	if fault.KindOf(err) == fault.Invalid {
		return "", refused("No user can be made with this e-mail address; send one in emails or as userName.").Because(err)
	}
	return email, err
}

// signal is bring for a security event. Only a user whom the provider provisions is noted as inactive at it: nobody but SCIM could
// take that back.
func (p *provisioning) signal(ctx context.Context, stored *User, active bool) error {
	u, err := resource.Clone(stored)
	if err != nil || active {
		return err
	}
	u.Deactivated = true
	if u.Provisioning != nil {
		u.Provisioning.Inactive = true
	}
	resource.Normalize(u)
	if err := p.admit(ctx, stored, u); err != nil {
		return err
	}
	return p.store(ctx, stored, u, u.UID)
}

// bring brings a user to the state of a request.
func (p *provisioning) bring(ctx context.Context, stored *User, in Provision) error {
	u, err := resource.Clone(stored)
	if err != nil {
		return err
	}
	was := u.Provisioning != nil && u.Provisioning.Inactive
	inactive := !in.Active || in.Deleted
	switch {
	case inactive:
		u.Deactivated = true
	case was:
		u.Deactivated = false // what somebody else has done stays
	}
	u.Provisioning = &resource.Provisioning{
		IdentityProvider: p.provider.Name, ExternalID: in.ExternalID, Name: in.UserName, Inactive: inactive, Deleted: in.Deleted,
	}
	u.DisplayName = displayName(in.DisplayName)
	resource.Normalize(u)
	if err := p.admit(ctx, stored, u); err != nil {
		return err
	}
	if err := p.store(ctx, stored, u, u.UID); err != nil || !in.Deleted {
		return err
	}
	teams, err := p.teams(ctx)
	if err != nil {
		return err
	}
	for _, t := range teams {
		if err := p.setMembers(ctx, t, func(m resource.TeamMember) bool { return m.User != u.Name }, nil); err != nil {
			return err
		}
	}
	return nil
}

// held keeps what an identity provider says against those who do not speak of it. A team that is its group keeps its members
// where a manifest lists none. A user whom a provider that there still is says to be inactive stays deactivated: no manifest
// brings somebody back who has left, and to ask for it by name is refused.
func (d *draft) held(ctx context.Context, stored, wanted Object, mask []string) error {
	if t, ok := wanted.(*Team); ok && t.Provisioning != nil && len(t.Members) == 0 && !slices.Contains(mask, "members") {
		if before, ok := stored.(*Team); ok {
			t.Members = slices.Clone(before.Members)
		}
		return nil
	}
	u, ok := wanted.(*User)
	if !ok || u.Deactivated || u.Provisioning == nil || !u.Provisioning.Inactive {
		return nil
	}
	p, err := desk.Find[*IdentityProvider](ctx, d.Desk, KindIdentityProvider, u.Provisioning.IdentityProvider)
	if err != nil || p == nil {
		return err
	}
	if slices.Contains(mask, "deactivated") {
		return fault.Newf(fault.Precondition, ReasonProvisionedInactive,
			"The identity provider %q says that %s is not active; activate the user there.", p.Name, u.Name)
	}
	u.Deactivated = true
	return nil
}

func taken(text string) *fault.Fault {
	return fault.New(fault.AlreadyExists, ReasonProvisioningConflict, text)
}

func refused(text string) *fault.Fault {
	return fault.New(fault.Invalid, ReasonProvisioningRefused, text)
}
