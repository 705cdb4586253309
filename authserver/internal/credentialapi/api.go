// SPDX-License-Identifier: Apache-2.0

package credentialapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// lifetime is how long a node may keep a static secret before it asks again (D-85: at most 15 minutes).
	lifetime = 15 * time.Minute
	// maxMessage bounds a request; a secret is some headers or variables, not a file system.
	maxMessage = 1 << 20
)

// Vault is what this room needs of the vault.
type Vault interface {
	Put(ctx context.Context, connection string, s vault.Secret) (version string, err error)
	Delete(ctx context.Context, connection string) (int, error)
}

// Credentials gives credentials out.
type Credentials interface {
	// Resolve opens or makes the credential of a connection; what can be renewed is renewed in time, or at once if the server
	// refused it. The time is until when it may be kept, zero if that is not known.
	Resolve(ctx context.Context, r Wanted) (vault.Secret, time.Time, error)
}

// Wanted is a credential that a node asks for.
type Wanted struct {
	Connection, Version string          // uid, and reference
	Principal           ident.Principal // the caller; zero for a discovery
	Refused             bool            // the server refused what was given out last

	// What the caller presented at the gateway, and the name of the identity provider that issued it; empty: nothing to exchange.
	SubjectToken    obs.Secret
	SubjectProvider string
}

// Passwords is what this room needs of the people who log in.
type Passwords interface {
	// SetPassword sets a user's password, or removes it if it is empty, and ends the user's logins.
	SetPassword(ctx context.Context, uid, password string) error
}

// Issuer is what this room needs of the authorization server.
type Issuer interface {
	// Documents returns the issuer identifier, the metadata as they are served, and the JSON Web Key Set.
	Documents() (issuer string, metadata, jwks []byte)
}

// Links makes connect links.
type Links interface {
	// Create makes a link and returns its URL and its end. The faults are those of connect.Handler.
	Create(ctx context.Context, r LinkRequest) (url string, expires time.Time, err error)
}

// LinkRequest says who is to connect what.
type LinkRequest struct {
	User, Server, Client, Gateway string         // Gateway is empty if no call is the reason
	Asker                         ident.Workload // node, or control plane, that asks
	Scope                         string         // scopes that the server wants besides, with a space between; empty: none
	Connection, Version           string         // uid and reference of the credential that was refused for its scope; empty without Scope
}

// Directory is what this room needs of the directory of the organisation.
type Directory interface {
	// Banned reports whether a workload is shut out (D-81).
	Banned(w ident.Workload) bool
	// MayResolve returns nil if a node may have the credential of a connection (uid) for a principal (zero: for none): a
	// gateway in its scope uses the connection (D-85, KM-7), and the principal is not known to be gone. Denied otherwise.
	MayResolve(ctx context.Context, node ident.Workload, connection string, p ident.Principal) error
	// MayConnect returns nil if a workload may have a link to a server (name) made for a user (uid): the user is there and
	// active, and a node serves the gateway (name) that the user's call came to (KM-7). Denied otherwise. A control plane names no
	// gateway; what it knows of the server already is waited for a moment.
	MayConnect(ctx context.Context, asker ident.Workload, gateway, user, server string) error
	// RecordDenial keeps an audit event (AU-2).
	RecordDenial(ctx context.Context, e store.Event)
}

// Config is what an API needs. Now may be nil, which means time.Now.
type Config struct {
	Vault       Vault
	Credentials Credentials
	Passwords   Passwords
	Issuer      Issuer
	Directory   Directory
	Links       Links
	Log         *slog.Logger
	Tracer      trace.TracerProvider
	Meter       metric.MeterProvider
	Propagator  propagation.TextMapPropagator
	Now         func() time.Time
}

// API implements the credential service. It is safe for concurrent use.
type API struct {
	vault       Vault
	credentials Credentials
	passwords   Passwords
	issuer      Issuer
	directory   Directory
	links       Links
	report      reporter
	propagator  propagation.TextMapPropagator
	now         func() time.Time
}

// New returns an API on its parts.
func New(c Config) (*API, error) {
	if c.Vault == nil || c.Credentials == nil || c.Passwords == nil || c.Issuer == nil || c.Directory == nil || c.Links == nil {
		return nil, errors.New("the credential api needs a vault, credentials, passwords, an issuer, a directory and links")
	}
	if c.Log == nil || c.Tracer == nil || c.Meter == nil || c.Propagator == nil {
		return nil, errors.New("the credential api needs a log, a tracer, a meter and a propagator")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	report, err := newReporter(c)
	if err != nil {
		return nil, err
	}
	return &API{
		vault: c.Vault, credentials: c.Credentials, passwords: c.Passwords, issuer: c.Issuer, directory: c.Directory, links: c.Links, report: report,
		propagator: c.Propagator, now: c.Now,
	}, nil
}

// Handler returns the service as HTTP. identify says who sent a request: [FromTLS] or [Fixed].
func (a *API) Handler(identify Identify) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(service{API: a},
		connect.WithReadMaxBytes(maxMessage),
		connect.WithRecover(a.report.recovered),
	))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := a.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		caller, err := identify(r)
		ctx = context.WithValue(ctx, callerKey{}, identified{caller, err})
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// service is the API as the generated handler wants it.
type service struct{ *API }

// PutSecret implements the service.
func (s service) PutSecret(ctx context.Context, m *credentialv1.PutSecretRequest) (*credentialv1.PutSecretResponse, error) {
	c := call{operation: "put", connection: m.GetConnectionUid(), roles: controlPlanes(), message: m}
	var r *credentialv1.PutSecretResponse
	err := s.serve(ctx, &c, func(ctx context.Context) error {
		version, err := s.vault.Put(ctx, m.GetConnectionUid(), vault.Secret{
			Headers: hide(m.GetSecret().GetHeaders()), Env: hide(m.GetSecret().GetEnv()),
			ClientSecret: obs.Secret(m.GetSecret().GetClientSecret()),
		})
		if err != nil {
			return fmt.Errorf("put a secret: %w", err)
		}
		c.version = version
		r = &credentialv1.PutSecretResponse{Version: version}
		return nil
	})
	return r, err
}

// DeleteSecrets implements the service.
func (s service) DeleteSecrets(ctx context.Context, m *credentialv1.DeleteSecretsRequest) (*credentialv1.DeleteSecretsResponse, error) {
	c := call{operation: "delete", connection: m.GetConnectionUid(), roles: controlPlanes(), message: m}
	err := s.serve(ctx, &c, func(ctx context.Context) error {
		n, err := s.vault.Delete(ctx, m.GetConnectionUid())
		if err != nil {
			return fmt.Errorf("delete secrets: %w", err)
		}
		c.count = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &credentialv1.DeleteSecretsResponse{}, nil
}

// Resolve implements the service.
func (s service) Resolve(ctx context.Context, m *credentialv1.ResolveRequest) (*credentialv1.ResolveResponse, error) {
	c := call{operation: "resolve", connection: m.GetConnectionUid(), version: m.GetVersion(), roles: nodes(), message: m}
	principal := ident.Principal{Kind: ident.Kind(m.GetPrincipal().GetKind()), UID: m.GetPrincipal().GetUid()}
	if principal.UID != "" {
		c.principal = principal.Hash()
	}
	var r *credentialv1.ResolveResponse
	err := s.serve(ctx, &c, func(ctx context.Context) error {
		if err := s.directory.MayResolve(ctx, callerOf(ctx).workload, m.GetConnectionUid(), principal); err != nil {
			return err
		}
		secret, until, err := s.credentials.Resolve(ctx, Wanted{
			Connection: m.GetConnectionUid(), Version: m.GetVersion(), Principal: principal, Refused: m.GetRefused(),
			SubjectToken: obs.Secret(m.GetSubjectToken()), SubjectProvider: m.GetSubjectProvider(),
		})
		if err != nil {
			return fmt.Errorf("resolve a credential: %w", err)
		}
		if latest := s.now().Add(lifetime); until.IsZero() || until.After(latest) {
			until = latest
		}
		r = &credentialv1.ResolveResponse{
			Secret:     &credentialv1.StaticSecret{Headers: reveal(secret.Headers), Env: reveal(secret.Env)},
			ExpireTime: timestamppb.New(until),
		}
		return nil
	})
	return r, err
}

// CreateConnectLink implements the service.
func (s service) CreateConnectLink(
	ctx context.Context, m *credentialv1.CreateConnectLinkRequest,
) (*credentialv1.CreateConnectLinkResponse, error) {
	c := call{operation: "create_connect_link", roles: append(nodes(), controlPlanes()...), message: m, server: m.GetServer()}
	c.principal = ident.Principal{Kind: ident.KindUser, UID: m.GetUserUid()}.Hash()
	var r *credentialv1.CreateConnectLinkResponse
	err := s.serve(ctx, &c, func(ctx context.Context) error {
		asker := callerOf(ctx).workload
		if err := checkGateway(asker, m.GetGateway()); err != nil {
			return err
		}
		if err := s.directory.MayConnect(ctx, asker, m.GetGateway(), m.GetUserUid(), m.GetServer()); err != nil {
			return err
		}
		url, expires, err := s.links.Create(ctx, LinkRequest{
			User: m.GetUserUid(), Server: m.GetServer(), Client: m.GetClientId(), Gateway: m.GetGateway(), Asker: asker,
			Scope: m.GetScope(), Connection: m.GetConnectionUid(), Version: m.GetVersion(),
		})
		if err != nil {
			return err
		}
		r = &credentialv1.CreateConnectLinkResponse{Url: url, ExpireTime: timestamppb.New(expires)}
		return nil
	})
	return r, err
}

// SetPassword implements the service.
func (s service) SetPassword(ctx context.Context, m *credentialv1.SetPasswordRequest) (*credentialv1.SetPasswordResponse, error) {
	c := call{operation: "set_password", roles: controlPlanes(), message: m}
	c.principal = ident.Principal{Kind: ident.KindUser, UID: m.GetUserUid()}.Hash()
	err := s.serve(ctx, &c, func(ctx context.Context) error {
		return s.passwords.SetPassword(ctx, m.GetUserUid(), m.GetPassword())
	})
	if err != nil {
		return nil, err
	}
	return &credentialv1.SetPasswordResponse{}, nil
}

// GetIssuer implements the service.
func (s service) GetIssuer(ctx context.Context, m *credentialv1.GetIssuerRequest) (*credentialv1.GetIssuerResponse, error) {
	c := call{operation: "get_issuer", roles: nodes(), message: m, quiet: true}
	var r *credentialv1.GetIssuerResponse
	err := s.serve(ctx, &c, func(context.Context) error {
		issuer, metadata, jwks := s.issuer.Documents()
		r = &credentialv1.GetIssuerResponse{Issuer: issuer, Metadata: metadata, Jwks: jwks}
		return nil
	})
	return r, err
}

// serve is what all calls have in common: who, whether, the work, and what is told about it.
func (a *API) serve(ctx context.Context, c *call, work func(context.Context) error) error {
	ctx, end := a.report.begin(ctx, c)
	err := a.admit(ctx, c)
	if err == nil {
		err = check(c.message)
	}
	if err == nil {
		err = work(ctx)
	}
	end(err)
	a.recordDenial(ctx, c, err)
	return toConnect(err)
}

// recordDenial keeps what a workload that is known was denied.
func (a *API) recordDenial(ctx context.Context, c *call, err error) {
	caller := callerOf(ctx)
	if caller.err != nil || fault.KindOf(err) != fault.Denied {
		return
	}
	a.directory.RecordDenial(ctx, store.Event{
		Time: a.now(), ActorType: string(caller.workload.Role), Actor: caller.workload.URI(), Action: "access.denied",
		Target: cmp.Or(c.connection, c.server), Result: "refused", Reason: fault.From(err).Reason,
	})
}

func hide(m map[string]string) map[string]obs.Secret {
	r := make(map[string]obs.Secret, len(m))
	for k, v := range m {
		r[k] = obs.Secret(v)
	}
	return r
}

func reveal(m map[string]obs.Secret) map[string]string {
	r := make(map[string]string, len(m))
	for k, v := range m {
		r[k] = v.Reveal()
	}
	return r
}
