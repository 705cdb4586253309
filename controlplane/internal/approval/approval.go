// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// State is what has become of a held call.
type State string

// The states. PENDING becomes APPROVED, DENIED or EXPIRED; APPROVED becomes RUN or EXPIRED; nothing else ever changes.
const (
	Pending  State = "PENDING"
	Approved State = "APPROVED"
	Denied   State = "DENIED"
	Expired  State = "EXPIRED"
	Run      State = "RUN"
)

// RunWithin is how long an approved call can be run (G-34).
const RunWithin = 10 * time.Minute

// Keep is how long an approval stays known after its end.
const Keep = 30 * 24 * time.Hour

// Kinds of events.
const (
	EventCreated  = "created"
	EventApproved = "approved"
	EventDenied   = "denied"
	EventExpired  = "expired"
	EventRun      = "run"
)

// Ways to decide.
const (
	HowAPI     = "api"
	HowCLI     = "cli"
	HowWebhook = "webhook"
)

// Reasons of the faults of this package.
const (
	// ReasonNotFound (NotFound): there is no such approval that the caller may see.
	ReasonNotFound = "APPROVAL_NOT_FOUND"
	// ReasonUnknownTarget (NotFound): there is no such gateway, tool, policy or caller.
	ReasonUnknownTarget = "APPROVAL_TARGET_NOT_FOUND"
	// ReasonNotRequired (Precondition): the policy asks for no approval of this kind.
	ReasonNotRequired = "APPROVAL_NOT_REQUIRED"
	// ReasonNobody (Precondition): nobody could approve.
	ReasonNobody = "APPROVAL_WITHOUT_APPROVER"
	// ReasonNotAPerson (Precondition): a caller that is no person would have to confirm.
	ReasonNotAPerson = "CALLER_NOT_A_PERSON"
	// ReasonDecided (Precondition): the approval has been decided, or has expired.
	ReasonDecided = "APPROVAL_DECIDED"
	// ReasonOutdated (Precondition): the policy is not the one any more that asked for the approval.
	ReasonOutdated = "APPROVAL_OUTDATED"
	// ReasonNotApprover (Denied): who decides is no approver.
	ReasonNotApprover = "NOT_AN_APPROVER"
	// ReasonOwnCall (Denied): who decides is the caller.
	ReasonOwnCall = "OWN_CALL"
	// ReasonNoKey (Precondition): there is no key to seal the arguments of a call with.
	ReasonNoKey = "APPROVAL_WITHOUT_KEY"
	// ReasonUnreadable (Precondition): the stored arguments of the call do not open.
	ReasonUnreadable = "APPROVAL_UNREADABLE"
	// ReasonBusy (Unavailable): others changed the approval again and again.
	ReasonBusy = "APPROVAL_BUSY"
)

// Caller is who makes a held call.
type Caller struct {
	Kind       string `json:"kind"` // "user", "team", "organization" or "service_account"
	UID        string `json:"uid,omitempty"`
	Name       string `json:"name,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	TokenID    string `json:"token_id,omitempty"`
}

// Kinds of callers.
const (
	kindUser         = "user"
	kindTeam         = "team"
	kindOrganization = "organization"
)

// String names the caller for people.
func (c Caller) String() string {
	switch c.Kind {
	case kindUser:
		return c.Name
	case kindOrganization:
		return c.Kind
	default:
		return c.Kind + ":" + c.Name
	}
}

// Call is what is held, and who may decide about it. It never changes.
type Call struct {
	Gateway       string   `json:"gateway"`
	GatewayUID    string   `json:"gateway_uid"`
	Tool          string   `json:"tool"`
	Policy        string   `json:"policy"`
	PolicyUID     string   `json:"policy_uid"`
	PolicyVersion string   `json:"policy_version"`
	Caller        Caller   `json:"caller"`
	Node          string   `json:"node"` // that asked
	Revision      uint64   `json:"revision,omitempty"`
	TraceID       string   `json:"trace_id,omitempty"`
	Confirmed     bool     `json:"confirmed,omitempty"` // by the caller itself
	Users         []string `json:"users,omitempty"`     // who may decide, by e-mail address
	Teams         []string `json:"teams,omitempty"`     // whose admins may decide
	OwnTeams      bool     `json:"own_teams,omitempty"` // the admins of the caller's teams may decide
	Approvers     []string `json:"approvers,omitempty"` // the same for people, as it was at the call
}

// Approval is a held call and what has become of it.
type Approval struct {
	ID            string
	State         State
	Key           string // see [Store]; empty if it answers for no further call
	Call          Call
	Arguments     []byte // empty once it has ended
	Unreadable    error  // why the arguments do not open; nil if they do
	SHA256        [32]byte
	Create        time.Time
	Expire        time.Time
	DecidedBy     string
	DecideTime    time.Time
	Reason        string
	RunNode       string
	RunTime, Ends time.Time // Ends is when it ended; zero until then
}

// over reports whether it is too late for what it waits for.
func (a *Approval) over(now time.Time) bool {
	return (a.State == Pending || a.State == Approved) && !now.Before(a.Expire)
}

// Event is something that happened to an approval.
type Event struct {
	ID, Approval, Kind string
	Time               time.Time
	Actor, How         string
	Attempts           int // to tell the webhook
}

// Decision is what a person decided.
type Decision struct {
	ID      string
	Approve bool
	By      string // e-mail address
	How     string // api, cli or webhook
	Reason  string
}

// Query chooses a page of approvals, the newest first.
type Query struct {
	State  State // empty: all
	Before *Mark // the page begins after it; nil: with the newest
	Limit  int
}

// Mark is a place in the list.
type Mark struct {
	Create time.Time
	ID     string
}

// Answer is how a message of the webhook was answered.
type Answer struct {
	ID     string
	Body   [32]byte // SHA-256 of the message
	Status int
	Text   []byte
}

// Store keeps approvals. Each transition is one conditional statement, whose outcome says whether it was this one that did it, and
// stores its event with it. Times are the caller's.
type Store interface {
	// Add stores an approval with its event; false if another one has its key. The fault is Precondition, APPROVAL_WITHOUT_KEY, where its
	// arguments could only be kept in clear.
	Add(ctx context.Context, a *Approval, e Event, send bool) (bool, error)
	// Get returns one; nil if there is none.
	Get(ctx context.Context, id string) (*Approval, error)
	// Live returns the one that has a key; nil if none has.
	Live(ctx context.Context, key string) (*Approval, error)
	// Decide makes a PENDING one APPROVED, to be run until a time, or DENIED, unless it has expired. The answer to a message, if there
	// is one, is stored with it.
	Decide(ctx context.Context, d Decision, until time.Time, e Event, send bool, answer *Answer) (bool, error)
	// Run makes an APPROVED one RUN, unless it has expired, and frees its key.
	Run(ctx context.Context, id string, e Event) (bool, error)
	// Expire makes a PENDING or APPROVED one that is due EXPIRED.
	Expire(ctx context.Context, id string, e Event, send bool) (bool, error)
	// Release frees the key of a DENIED or EXPIRED one.
	Release(ctx context.Context, id string) (bool, error)
	// Due returns the ids of PENDING and APPROVED ones that are due, up to a limit.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)
	// States returns the states of approvals; those that there are not are missing.
	States(ctx context.Context, ids []string) (map[string]State, error)
	// List returns a page.
	List(ctx context.Context, q Query) ([]*Approval, error)
	// Events returns what happened to one, in order.
	Events(ctx context.Context, id string) ([]Event, error)
}

// Resources are the gateways, policies, users and teams. catalog.Store has them.
type Resources interface {
	Read(ctx context.Context, fn func(catalog.Head, catalog.Reader) error) error
}

// Config is what a Service needs.
type Config struct {
	Store     Store
	Resources Resources
	Log       *slog.Logger
	Meter     metric.MeterProvider // optional
	Now       func() time.Time
	// Tell says that what happens is told to a webhook: events are stored to be sent.
	Tell bool
}

// Service holds calls. It is safe for concurrent use.
type Service struct {
	c      Config
	events metric.Int64Counter

	mu      sync.Mutex
	waiting map[string]map[*waiter]struct{} // by approval
	stopped chan struct{}                   // closed when Run has ended
}

// New returns a Service. It starts nothing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Resources == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("approvals: Store, Resources, Log and Now are required")
	}
	if c.Meter == nil {
		c.Meter = noop.NewMeterProvider()
	}
	events, err := c.Meter.Meter("github.com/penstockhq/penstock/controlplane/approval").
		Int64Counter(obs.MetricApprovals, metric.WithUnit("{event}"), metric.WithDescription("What happened to held calls."))
	return &Service{c: c, events: events, waiting: make(map[string]map[*waiter]struct{}), stopped: make(chan struct{})}, err
}

// count counts what happened.
func (s *Service) count(ctx context.Context, kind string) {
	s.events.Add(ctx, 1, metric.WithAttributes(attribute.String("event", kind)))
}

func busy() error {
	return fault.New(fault.Unavailable, ReasonBusy, "Others changed the approval at the same moment, again and again. Try again.").After(time.Second)
}

// Unsent is an event that the webhook is still to be told, and when.
type Unsent struct {
	Event

	Due time.Time
}
