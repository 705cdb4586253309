// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const scope = "github.com/penstockhq/penstock/dataplane/internal/credential"

const (
	// maxLifetime is the longest that a credential is kept, whatever the authserver says.
	maxLifetime = 15 * time.Minute
	// fetchTimeout bounds one question to the authserver; calls wait for it.
	fetchTimeout = 5 * time.Second
	// sweepEvery is how exactly expired entries are overwritten.
	sweepEvery = time.Second
	// defaultEntries bounds the cache; beyond it the entry that expires first goes.
	defaultEntries = 10_000
	// maxAnswer bounds an answer of the authserver, in bytes.
	maxAnswer = 2 << 20
)

// Config is what a Client needs.
type Config struct {
	// HTTP is a client that the authserver knows as a node: by its certificate, or because it leads there through memory.
	HTTP *http.Client
	// URL is the authserver's base URL, for example "https://authserver.internal:8085".
	URL string

	Log        *slog.Logger
	Tracer     trace.TracerProvider
	Meter      metric.MeterProvider
	Propagator propagation.TextMapPropagator

	// MaxEntries bounds the cache; zero means 10,000.
	MaxEntries int
	// Now may be nil, which means time.Now.
	Now func() time.Time
}

// Credential is what one call authenticates upstream with. It belongs to the call.
type Credential struct {
	// Key is the identity of the credential, "<connection uid>/<version>": equal keys are equal credentials.
	Key string
	// Headers are request headers, canonical name to value; Env are environment variables.
	Headers, Env map[string]obs.Secret
	// Expires is when it must be resolved again.
	Expires time.Time
	// Serial tells the credentials of one client apart: it is another one whenever it was fetched anew.
	Serial uint64
}

// RevealHeaders returns the headers in the form of net/http.
func (c *Credential) RevealHeaders() http.Header {
	h := make(http.Header, len(c.Headers))
	for name, value := range c.Headers {
		h[name] = []string{value.Reveal()}
	}
	return h
}

// RevealEnv returns the environment variables, name to value.
func (c *Credential) RevealEnv() map[string]string {
	m := make(map[string]string, len(c.Env))
	for name, value := range c.Env {
		m[name] = value.Reveal()
	}
	return m
}

// Client resolves credentials. It is safe for concurrent use.
type Client struct {
	remote  credentialv1connect.CredentialServiceClient
	log     *slog.Logger
	now     func() time.Time
	max     int
	tracer  trace.Tracer
	lookups metric.Int64Counter
	seconds metric.Float64Histogram
	// outcomes are the attributes of lookups, made once: every call adds one.
	outcomes map[string]metric.AddOption

	fetches sync.WaitGroup // one for each running fetch

	mu      sync.Mutex // guards what follows
	entries map[key]*entry
	flights map[key]*flight
	links   map[LinkRequest]*linkFlight
	serial  uint64 // of the last entry
	ended   bool
}

// key is what a cached credential belongs to. The principal is empty for a discovery.
type key struct {
	connection, version string
	kind                ident.Kind // of the principal
	uid                 string     // of the principal
	refused             bool       // of a flight: the upstream refused what was fetched before
	presented           bool       // of a flight: the caller presented a token, which may lead to more than what others left
}

// New returns a client. It asks for nothing until Resolve is called.
func New(c Config) (*Client, error) {
	if c.HTTP == nil || c.URL == "" || c.Log == nil || c.Tracer == nil || c.Meter == nil || c.Propagator == nil {
		return nil, errors.New("the credential client needs an HTTP client, the authserver's URL and telemetry")
	}
	if c.MaxEntries < 0 {
		return nil, errors.New("the credential client cannot keep a negative number of entries")
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = defaultEntries
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	m := c.Meter.Meter(scope)
	lookups, err := m.Int64Counter(obs.MetricCredentialLookups,
		metric.WithDescription("credential look-ups, by outcome: hit, miss, error"))
	if err != nil {
		return nil, fmt.Errorf("make the look-up counter: %w", err)
	}
	seconds, err := m.Float64Histogram(obs.MetricCredentialResolve, metric.WithUnit("s"),
		metric.WithDescription("time the authserver took to resolve a credential"))
	if err != nil {
		return nil, fmt.Errorf("make the resolve histogram: %w", err)
	}
	outcomes := make(map[string]metric.AddOption)
	for _, o := range []string{outcomeHit, outcomeMiss, outcomeError} {
		outcomes[o] = metric.WithAttributeSet(attribute.NewSet(attribute.String(attrOutcome, o)))
	}
	remote := credentialv1connect.NewCredentialServiceClient(c.HTTP, c.URL,
		connect.WithReadMaxBytes(maxAnswer), connect.WithInterceptors(inject(c.Propagator)))
	return &Client{
		remote: remote, log: c.Log, now: c.Now, max: c.MaxEntries,
		tracer: c.Tracer.Tracer(scope), lookups: lookups, seconds: seconds, outcomes: outcomes,
		entries: make(map[key]*entry), flights: make(map[key]*flight), links: make(map[LinkRequest]*linkFlight),
	}, nil
}

// Wanted says whose credential is wanted.
type Wanted struct {
	Connection, Version string          // uid, and the version that the view refers to
	Principal           ident.Principal // zero for a discovery
	Subject             Subject
}

// Subject is a token of an identity provider that the caller presented, for the authserver to exchange. It is kept no longer than the
// question takes, and is no part of what a credential is known by: what it is exchanged for is the principal's.
type Subject struct {
	Token    obs.Secret // empty for none
	Provider string     // name
}

func (w Wanted) key() key {
	return key{
		connection: w.Connection, version: w.Version, kind: w.Principal.Kind, uid: w.Principal.UID, presented: w.Subject.Token != "",
	}
}

// Resolve returns the credential of a connection for a principal.
//
// The faults are Precondition CREDENTIAL_MISSING and CREDENTIAL_UNREADABLE, and Unavailable: AUTHSERVER_UNAVAILABLE when no
// unexpired credential is at hand and the authserver cannot be reached, AUTHSERVER_REFUSED when it does not accept this
// node, CREDENTIAL_VERSION_UNKNOWN when it has been told for a second now to make the credential in another way.
func (c *Client) Resolve(ctx context.Context, w Wanted) (*Credential, error) {
	k := w.key()
	return c.resolved(ctx, k, func(ctx context.Context) (*Credential, *flight, error) { return c.lookup(ctx, k, w.Subject) })
}

// Refused is [Client.Resolve] for a call whose server refused the credential with that serial. The authserver renews what it
// can, once for all calls that were refused; what was fetched anew since is returned without asking. Beside the faults of
// Resolve there is Precondition CREDENTIAL_DEAD: it cannot be renewed, somebody has to connect the server again (UP-5, UP-8).
func (c *Client) Refused(ctx context.Context, w Wanted, serial uint64) (*Credential, error) {
	k := w.key()
	k.refused = true
	return c.resolved(ctx, k, func(ctx context.Context) (*Credential, *flight, error) {
		return c.lookupNewer(ctx, k, w.Subject, serial)
	})
}

// look returns an unexpired credential, or a flight to wait for.
type look func(ctx context.Context) (*Credential, *flight, error)

// resolved waits for what look finds, and tells how it went.
func (c *Client) resolved(ctx context.Context, k key, find look) (*Credential, error) {
	ctx, span := c.tracer.Start(ctx, "credential")
	defer span.End()
	cred, outcome, err := c.resolve(ctx, k, find)
	if err != nil {
		outcome = outcomeError
	}
	c.lookups.Add(ctx, 1, c.outcomes[outcome])
	if span.IsRecording() {
		span.SetAttributes(attribute.String(obs.PenstockConnection, k.connection), attribute.String(obs.PenstockOutcome, outcome))
		if f := fault.From(err); f != nil {
			span.SetAttributes(attribute.String(obs.PenstockFaultReason, f.Reason))
		}
	}
	return cred, err
}

// Outcomes of a look-up.
const (
	attrOutcome  = "outcome"
	outcomeHit   = "hit"
	outcomeMiss  = "miss"
	outcomeError = "error"
)

func (c *Client) resolve(ctx context.Context, k key, find look) (cred *Credential, outcome string, err error) {
	outcome = outcomeHit
	for {
		cred, f, err := find(ctx)
		if cred != nil || err != nil {
			return cred, outcome, err
		}
		outcome = outcomeMiss
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, outcome, fmt.Errorf("wait for the credential of connection %s: %w", k.connection, context.Cause(ctx))
		}
		if f.revoked {
			continue // a denial came in between: what was fetched may be what was denied
		}
		return f.cred.clone(), outcome, f.err
	}
}

// lookup returns an unexpired credential, or a flight to wait for.
func (c *Client) lookup(ctx context.Context, k key, s Subject) (*Credential, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, nil, fault.New(fault.Unavailable, ReasonUnavailable, "The node is stopping.")
	}
	now := c.now()
	if e := c.entries[k.entry()]; e != nil && now.Before(e.expires) {
		if !now.Before(e.renew) && c.flights[k] == nil {
			c.launch(ctx, k, s)
		}
		return e.credential(), nil, nil
	}
	f := c.flights[k]
	if f == nil {
		f = c.launch(ctx, k, s)
	}
	return nil, f, nil
}

// lookupNewer is lookup for a credential that was fetched after the one with a serial.
func (c *Client) lookupNewer(ctx context.Context, k key, s Subject, serial uint64) (*Credential, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, nil, fault.New(fault.Unavailable, ReasonUnavailable, "The node is stopping.")
	}
	if e := c.entries[k.entry()]; e != nil && e.serial != serial && c.now().Before(e.expires) {
		return e.credential(), nil, nil
	}
	f := c.flights[k]
	if f == nil {
		f = c.launch(ctx, k, s)
	}
	return nil, f, nil
}

// Deny drops and overwrites every cached credential of a connection, by uid. A fetch under way is not used.
func (c *Client) Deny(connectionUID string) {
	c.deny(func(k key) bool { return k.connection == connectionUID })
}

// DenyPrincipal is [Client.Deny] for everything that was resolved for a principal.
func (c *Client) DenyPrincipal(p ident.Principal) {
	c.deny(func(k key) bool { return k.kind == p.Kind && k.uid == p.UID })
}

func (c *Client) deny(concerned func(key) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.entries {
		if concerned(k) {
			c.drop(k)
		}
	}
	for k, f := range c.flights {
		if concerned(k) {
			f.revoked = true
			f.cancel()
			delete(c.flights, k)
		}
	}
}

// Run overwrites what has expired, until ctx is canceled. Then it drops everything, ends the fetches under way, and returns
// nil; Resolve fails from then on.
func (c *Client) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.end()
			return nil
		case <-tick.C:
			c.sweep()
		}
	}
}

func (c *Client) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for k, e := range c.entries {
		if !now.Before(e.expires) {
			c.drop(k)
		}
	}
}

func (c *Client) end() {
	c.mu.Lock()
	c.ended = true
	for k := range c.entries {
		c.drop(k)
	}
	for _, f := range c.flights {
		f.cancel()
	}
	for _, f := range c.links {
		f.cancel()
	}
	c.mu.Unlock()
	c.fetches.Wait()
}

// Holds reports whether [Client.Resolve] would return a credential without asking anybody. It is no use of it: nothing is renewed.
func (c *Client) Holds(w Wanted) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[w.key().entry()]
	return e != nil && c.now().Before(e.expires)
}
