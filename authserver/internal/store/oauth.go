// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [OAuth].
const (
	// ReasonRowMissing: there is no such row (NotFound).
	ReasonRowMissing = "OAUTH_STATE_MISSING"
	// ReasonRowExists: the row is there already (AlreadyExists).
	ReasonRowExists = "OAUTH_STATE_EXISTS"
)

// RowMissing returns the fault of a row that is not stored.
func RowMissing() *fault.Fault {
	return fault.New(fault.NotFound, ReasonRowMissing, "There is no such entry.")
}

// RowExists returns the fault of a row that is already stored.
func RowExists() *fault.Fault {
	return fault.New(fault.AlreadyExists, ReasonRowExists, "The entry is already stored.")
}

// Hash is the SHA-256 of a secret that is never stored itself: a code, token, ticket or login.
type Hash = [32]byte

// Client is a dynamically registered client (RFC 7591).
type Client struct {
	ID          string // never starts with "https://"
	Fingerprint Hash   // of what the registration said; zero for a confidential client, which is never shared
	Metadata    []byte // JSON, as registered
	SecretHash  Hash   // zero for a public client
	ManageHash  Hash   // of the registration access token (RFC 7592); zero if there is none
	CreateTime  time.Time
	UseTime     time.Time // last authorization or token request; zero if there was none
	ExpireTime  time.Time // when it is collected, unless it is used
}

// Ticket is something a browser holds the secret of and that ends soon: a request for consent, a login at an identity
// provider, a CSRF token's subject.
type Ticket struct {
	Kind       string // what it is for, for example "authorization"
	Hash       Hash   // of the secret
	Data       []byte // JSON of the room that owns the kind; holds no secret
	ExpireTime time.Time
}

// Login is a browser that somebody is logged in with.
type Login struct {
	Hash       Hash   // of the cookie's secret
	User       string // uid
	Provider   string // name of the identity provider; empty for a password
	Session    string // `sid` of the session at the provider; empty: it named none
	AMR        []string
	AuthTime   time.Time // when the person proved who they are
	UseTime    time.Time
	ExpireTime time.Time
}

// Consent is what a user allowed a client to do at a gateway.
type Consent struct {
	User         string // uid
	Client       string // client_id
	RedirectHost string // host and scheme that the answer goes to, for example "https://client.example"
	Gateway      string // uid
	Scopes       []string
	Fingerprint  Hash   // of what the client said about itself; another one needs consent again (CIMD-15)
	ClientName   string // as it was shown
	CreateTime   time.Time
	UpdateTime   time.Time
}

// Grant is one authorization: the family of an access and a refresh token and their successors.
type Grant struct {
	ID           string // gid of its tokens
	User         string // uid; empty for client credentials
	Client       string
	RedirectHost string // of the consent it rests on; empty if it rests on none
	Gateway      string // uid
	Resource     string // canonical resource, `aud`
	Scopes       []string
	AMR          []string
	Provider     string // of the login
	Session      string // of the login
	AuthTime     time.Time
	CreateTime   time.Time
	UseTime      time.Time // last issue of a token
	ExpireTime   time.Time // absolute end
	RevokeTime   time.Time // zero while it is good
	Origin       Subject   // of a grant that an identity assertion made; zero for every other
}

// Subject is the account at an identity provider that an identity assertion (ID-JAG) was about. It says who somebody is
// elsewhere, so that a token for another server can be asked for in her name; the assertion itself is kept nowhere.
type Subject struct {
	Issuer  string // `iss`
	Subject string // `sub`
	Session string // `sid`; empty: not said
}

// Code is an authorization code.
type Code struct {
	Hash        Hash
	RedirectURI string // as requested, with its port
	Challenge   string // S256 code challenge
	Grant       Grant  // what redeeming it makes; the grant is not stored before. Its ID is set already
	RedeemTime  time.Time
	ExpireTime  time.Time
}

// RefreshToken is one token of a family. At most one of a family has no successor.
type RefreshToken struct {
	Hash       Hash
	Grant      string // ID
	CreateTime time.Time
	ExpireTime time.Time // idle end
	// RotateTime is when the successor was made; zero for the live token of the family.
	RotateTime time.Time
	// Successor is the successor, sealed under a key that only the holder of this token can make (TK-9).
	Successor []byte
}

// SigningKeyState is where in its life a signing key is (KM-1).
type SigningKeyState string

// The states of signing keys.
const (
	KeyNext    SigningKeyState = "next"
	KeyActive  SigningKeyState = "active"
	KeyRetired SigningKeyState = "retired"
	KeyRevoked SigningKeyState = "revoked"
)

// SigningKey is a key pair that signs tokens.
type SigningKey struct {
	ID         string // kid: RFC 7638 thumbprint
	Public     []byte // JWK
	KeyID      string // of the vault key that sealed Sealed
	Sealed     []byte // private key (PKCS #8), bound to ID
	State      SigningKeyState
	CreateTime time.Time
	StateTime  time.Time // when State began
}

// Password is the hash of a local user's password.
type Password struct {
	User       string // uid
	Encoded    string // argon2id in PHC form
	UpdateTime time.Time
}

// RevocationKind says what a revocation is about; the values are those of penstock.distribution.v1.
type RevocationKind int32

// The kinds of revocations.
const (
	RevokeToken   RevocationKind = 1 // by jti
	RevokeGrant   RevocationKind = 2 // by gid
	RevokeKey     RevocationKind = 3 // by kid
	RevokeSubject RevocationKind = 4 // by the user's uid
)

// Revocation is an entry of the outbox: told to the control plane until it has it (D-32).
type Revocation struct {
	ID           int64 // made by the store, rising
	Kind         RevocationKind
	Key          Hash // SHA-256 of jti, gid, kid or uid
	ExpireTime   time.Time
	IssuedBefore time.Time // RevokeSubject only
}

// Event is one audit event (AU-2). It holds no token, password or e-mail address.
type Event struct {
	Time      time.Time `json:"time"`
	ActorType string    `json:"actor_type,omitempty"` // "user", "client", "node", "controlplane", "system"
	Actor     string    `json:"actor,omitempty"`      // uid, client_id or name
	Client    string    `json:"client_id,omitempty"`
	Action    string    `json:"action"` // for example "token.issued" (AU-3)
	Target    string    `json:"target,omitempty"`
	Result    string    `json:"result"` // "ok" or "refused"
	Reason    string    `json:"reason,omitempty"`
	IP        string    `json:"ip,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	RequestID string    `json:"request_id,omitempty"` // the one a person was shown (AU-6)
	Grant     string    `json:"gid_hash,omitempty"`   // hexadecimal SHA-256 of the gid
	Issuer    string    `json:"iss,omitempty"`        // of an identity assertion, as are the next two
	Subject   string    `json:"sub_hash,omitempty"`   // hexadecimal SHA-256 of `sub`
	Token     string    `json:"jti_hash,omitempty"`   // hexadecimal SHA-256 of `jti`
}

// AuditRecord is an event in the hash chain (AU-1); [VerifyAudit] checks it.
type AuditRecord struct {
	Seq      int64
	Event    Event
	Previous Hash   // Hash of the record before; zero for the first
	Hash     Hash   // SHA-256 of Previous and the event's stored JSON
	JSON     []byte // of Event, as stored
}

// OAuthReader reads the state of the authorization server. A row that is not there is NotFound, OAUTH_STATE_MISSING.
// Lists are empty then.
type OAuthReader interface {
	ConnectReader

	Client(ctx context.Context, id string) (Client, error)
	// UnusedClients returns how many clients were registered and never used.
	UnusedClients(ctx context.Context) (int, error)

	// Ticket returns a ticket, expired or not.
	Ticket(ctx context.Context, kind string, secret Hash) (Ticket, error)
	Login(ctx context.Context, secret Hash) (Login, error)

	Consent(ctx context.Context, user, client, redirectHost, gateway string) (Consent, error)
	// Consents returns those of a user, the newest first.
	Consents(ctx context.Context, user string) ([]Consent, error)
	Grant(ctx context.Context, id string) (Grant, error)
	// Grants returns those of a user that are neither revoked nor over at a time, the newest first.
	Grants(ctx context.Context, user string, now time.Time) ([]Grant, error)
	// SessionGrants is Grants for those that rest on a session at an identity provider, by its name, whoever's they are.
	SessionGrants(ctx context.Context, provider, session string, now time.Time) ([]Grant, error)
	// Ended returns until when what a user had was ended; zero if that was never done.
	Ended(ctx context.Context, user string) (time.Time, error)

	// Code returns a code, redeemed and expired ones too, until they are collected.
	Code(ctx context.Context, secret Hash) (Code, error)
	// RefreshToken returns a token with its grant, superseded and expired ones too.
	RefreshToken(ctx context.Context, secret Hash) (RefreshToken, Grant, error)

	SigningKeys(ctx context.Context) ([]SigningKey, error) // the newest first
	// JTIUsed reports whether [OAuthTx.UseJTI] was told of an identifier of an issuer that is not collected yet.
	JTIUsed(ctx context.Context, issuer, jti string) (bool, error)
	Password(ctx context.Context, user string) (Password, error)
	// PasswordUsers returns the uids, in order, of users with a password that was set before a time; after is the last one of
	// the call before.
	PasswordUsers(ctx context.Context, before time.Time, after string, limit int) ([]string, error)
	// Outbox returns the oldest revocations that the control plane does not have yet.
	Outbox(ctx context.Context, limit int) ([]Revocation, error)
	// Audit returns records after a sequence number, in order.
	Audit(ctx context.Context, after int64, limit int) ([]AuditRecord, error)
}

// OAuthTx changes the state. What it reads is what it changes: no other transaction changes a row in between that this
// one has changed, or has read by itself (Ticket, Login, Consent, Grant, Code, Password, ConnectLink; RefreshToken locks its grant, and so
// the family; SigningKeys lock each other out; a Client is not locked: only its times change, and many people share one).
// Lists of consents and grants lock nothing: whoever takes all of something away deletes the consents first and then lists
// the grants.
//
// To store what is there already is AlreadyExists, OAUTH_STATE_EXISTS, except where a method says otherwise. To touch, delete
// or revoke what is not there is no error. Times of use only move forward. What Revoke and Record append is seen by readers
// when it is committed, not before.
type OAuthTx interface {
	OAuthReader
	ConnectTx

	// CreateClient stores a client. If one with the same non-zero Fingerprint is there and not expired at c.CreateTime, that
	// one is returned with its ExpireTime moved to c's, if that is later.
	CreateClient(ctx context.Context, c Client) (Client, error)
	// TouchClient notes a use and moves the end, which never moves back.
	TouchClient(ctx context.Context, id string, used, expires time.Time) error
	DeleteClient(ctx context.Context, id string) error
	// DropUnusedClients removes clients that were never used and made before a time, the oldest first and at most that many. It
	// returns how many.
	DropUnusedClients(ctx context.Context, before time.Time, most int) (int, error)

	PutTicket(ctx context.Context, t Ticket) error
	// TakeTicket removes a ticket and returns it: of several takers one gets it, the others NotFound.
	TakeTicket(ctx context.Context, kind string, secret Hash) (Ticket, error)

	PutLogin(ctx context.Context, l Login) error
	TouchLogin(ctx context.Context, secret Hash, used time.Time) error
	DeleteLogin(ctx context.Context, secret Hash) error
	DeleteLogins(ctx context.Context, user string) error
	// DeleteProviderLogins removes the logins of a user with one identity provider, by name.
	DeleteProviderLogins(ctx context.Context, user, provider string) error
	// DeleteSession removes the logins that came from a session at an identity provider, by its name, and the codes that rest on
	// them and that nobody has redeemed yet. It returns the users of those logins. It comes before the list of grants, as
	// DeleteCodes does.
	DeleteSession(ctx context.Context, provider, session string) (users []string, err error)
	// PutEnded notes until when what a user had was ended; it never goes back.
	PutEnded(ctx context.Context, user string, at time.Time) error

	// PutConsent stores a consent or replaces the one of the same user, client, redirect host and gateway.
	PutConsent(ctx context.Context, c Consent) error
	// DeleteConsents removes the consents of a user to a client at a gateway, whatever the redirect host.
	DeleteConsents(ctx context.Context, user, client, gateway string) error

	PutCode(ctx context.Context, c Code) error
	// RedeemCode marks a code as used and stores its grant with UseTime = at, and tells whether this call did: of several
	// only one (TK-2). It does not for a code that is over at that time.
	RedeemCode(ctx context.Context, secret Hash, at time.Time) (bool, error)
	// DeleteCodes removes the codes of a user that nobody has redeemed yet: those for a client and a gateway, or all if both
	// are empty. It comes before the list of grants: a code is then gone or its grant is on the list.
	DeleteCodes(ctx context.Context, user, client, gateway string) error

	// PutGrant stores a grant that comes from no code.
	PutGrant(ctx context.Context, g Grant) error
	// RevokeGrant marks a grant as revoked, and tells whether this call did.
	RevokeGrant(ctx context.Context, id string, at time.Time) (bool, error)

	// PutRefreshToken stores the first token of a family. A second live one is AlreadyExists (TK-9).
	PutRefreshToken(ctx context.Context, t RefreshToken) error
	// RotateRefreshToken replaces the live token of a family, and tells whether this call did: it is a compare-and-swap on
	// the parent having no successor (TK-10). It sets the parent's RotateTime to next.CreateTime and its Successor to sealed,
	// and the grant's UseTime. A family whose grant is revoked or missing has no next token: false.
	RotateRefreshToken(ctx context.Context, parent Hash, next RefreshToken, sealed []byte) (bool, error)

	// CreateSigningKey stores a key.
	CreateSigningKey(ctx context.Context, k SigningKey) error
	// SetSigningKeyState moves a key from one state to another, and tells whether it was in the first.
	SetSigningKeyState(ctx context.Context, id string, from, to SigningKeyState, at time.Time) (bool, error)
	DeleteSigningKey(ctx context.Context, id string) error

	// UseJTI remembers an identifier of an issuer at least until a time, and tells whether it was new (TK-17, JAG-8). It is
	// refused until it is collected. Both may be any bytes of any length.
	UseJTI(ctx context.Context, issuer, jti string, expires time.Time) (bool, error)

	// PutPassword stores a password or replaces it.
	PutPassword(ctx context.Context, p Password) error
	DeletePassword(ctx context.Context, user string) error

	// Revoke puts a revocation into the outbox.
	Revoke(ctx context.Context, r Revocation) error
	// DeleteOutbox removes entries that the control plane has.
	DeleteOutbox(ctx context.Context, ids []int64) error

	// Record appends an audit event. It is stored with the change, or not at all. A zero Time is filled in.
	Record(ctx context.Context, e Event) error

	// Collect removes what is over at a time: tickets, logins, codes, tokens, grants, jtis, connect links and revocations that
	// are expired (or revoked) for an hour, and clients past their ExpireTime. It returns the number of rows, at most a thousand of each kind:
	// call it in a transaction of its own until it returns 0.
	Collect(ctx context.Context, now time.Time) (int, error)
}

// OAuth keeps the state of the authorization server. It is safe for concurrent use by several processes.
type OAuth interface {
	OAuthReader
	// Update runs fn in one transaction, which is committed if fn returns nil. fn may run again after a conflict, so it has
	// no other effects. Errors of fn are returned as they are. To read through the store itself with the context that fn gets
	// is to read in the transaction; an Update with that context is an error.
	Update(ctx context.Context, fn func(ctx context.Context, tx OAuthTx) error) error
}
