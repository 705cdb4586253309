// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of faults.
const (
	// ReasonUnavailable: the authserver cannot be reached (Unavailable).
	ReasonUnavailable = "AUTHSERVER_UNAVAILABLE"
	// ReasonBehind: the authserver has not heard of a change that was made a moment ago (Unavailable).
	ReasonBehind = "AUTHSERVER_BEHIND"
)

const (
	// callTimeout bounds one call; an admin waits for it.
	callTimeout = 10 * time.Second
	// maxAnswer bounds what the authserver may answer with, in bytes: a reference, or an error.
	maxAnswer = 64 << 10
	// errorDomain is the domain of google.rpc.ErrorInfo of every process of Penstock.
	errorDomain = "penstock"
)

// Config is what a Client needs: an HTTP client that the authserver knows as a control plane (by its certificate, or
// because it leads there through memory), and the base URL, for example "https://authserver.internal:8085".
type Config struct {
	HTTP *http.Client
	URL  string
}

// Client puts and deletes secrets at the authserver, sets passwords, and has connect links made. It is safe for concurrent use.
type Client struct {
	remote credentialv1connect.CredentialServiceClient
}

// New returns a client. It connects at the first call.
func New(c Config) (*Client, error) {
	if c.HTTP == nil || c.URL == "" {
		return nil, errors.New("the secrets client needs an HTTP client and the authserver's URL")
	}
	return &Client{remote: credentialv1connect.NewCredentialServiceClient(c.HTTP, c.URL, connect.WithReadMaxBytes(maxAnswer))}, nil
}

// Put stores a secret as a new version of a connection's credential and returns its reference, for example
// "v_5f0c…". It is not committed until the catalog writes the reference; a version that never is goes away by itself.
//
// The faults are Invalid CREDENTIAL_INVALID or REQUEST_INVALID, with the names (never the values) of what is wrong in
// Fields, Unavailable AUTHSERVER_UNAVAILABLE, and those of the authserver's store.
func (c *Client) Put(ctx context.Context, connectionUID string, headers, env map[string]string) (version string, err error) {
	return c.put(ctx, connectionUID, &credentialv1.StaticSecret{Headers: headers, Env: env})
}

func (c *Client) put(ctx context.Context, uid string, secret *credentialv1.StaticSecret) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := c.remote.PutSecret(ctx, &credentialv1.PutSecretRequest{ConnectionUid: uid, Secret: secret})
	if err != nil {
		return "", fmt.Errorf("put the secret of %s: %w", uid, toFault(err))
	}
	return r.GetVersion(), nil
}

// PutClientSecret stores the client_secret of Penstock at an identity provider, as [Client.Put] stores a connection's
// secrets.
func (c *Client) PutClientSecret(ctx context.Context, providerUID, secret string) (version string, err error) {
	return c.put(ctx, providerUID, &credentialv1.StaticSecret{ClientSecret: secret})
}

// SetPassword sets the password of a user; an empty one takes it away. The user's logins end. The faults are Invalid with
// the authserver's reason, Unavailable AUTHSERVER_UNAVAILABLE, and those of the authserver's store.
func (c *Client) SetPassword(ctx context.Context, userUID, password string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := c.remote.SetPassword(ctx, &credentialv1.SetPasswordRequest{UserUid: userUID, Password: password}); err != nil {
		return fmt.Errorf("set the password of user %s: %w", userUID, toFault(err))
	}
	return nil
}

// CreateConnectLink makes a link under which a user (uid) gives a credential for a server (name), and says when it ends. The catalog
// has checked both: an authserver that knows them otherwise follows a control plane that is behind. The faults are Exhausted
// TOO_MANY_CONNECT_LINKS, Unavailable AUTHSERVER_BEHIND and AUTHSERVER_UNAVAILABLE, and those of the authserver's store.
func (c *Client) CreateConnectLink(ctx context.Context, userUID, server string) (url string, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := c.remote.CreateConnectLink(ctx, &credentialv1.CreateConnectLinkRequest{UserUid: userUID, Server: server})
	if err != nil {
		if err = toFault(err); slices.Contains(unheard(), fault.From(err).Reason) {
			err = fault.New(fault.Unavailable, ReasonBehind, "The authserver has not heard yet of what was changed a moment ago; try again.").After(time.Second).Because(err)
		}
		return "", time.Time{}, fmt.Errorf("create a connect link of user %s: %w", userUID, err)
	}
	return r.GetUrl(), r.GetExpireTime().AsTime(), nil
}

// unheard lists the reasons with which the authserver says that it does not know a person, or a server as one that people connect.
func unheard() []string {
	return []string{"PRINCIPAL_UNKNOWN", "SERVER_UNKNOWN", "SERVER_NOT_CONNECTABLE"}
}

// Delete removes every version of a connection's credential, or of an identity provider's. It is idempotent.
func (c *Client) Delete(ctx context.Context, connectionUID string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := c.remote.DeleteSecrets(ctx, &credentialv1.DeleteSecretsRequest{ConnectionUid: connectionUID}); err != nil {
		return fmt.Errorf("delete the secrets of %s: %w", connectionUID, toFault(err))
	}
	return nil
}

// toFault reads a fault out of the authserver's answer. An answer without google.rpc.ErrorInfo did not come from the
// authserver's code: the network, a proxy, a process that is starting.
func toFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	answer, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return unavailable(err)
	}
	f := fault.New(fault.KindOfConnect(uint32(answer.Code())), "", answer.Message())
	for _, d := range answer.Details() {
		value, err := d.Value()
		if err != nil {
			continue // a detail of a newer release
		}
		switch v := value.(type) {
		case *errdetails.ErrorInfo:
			if v.GetDomain() == errorDomain {
				f.Reason = v.GetReason()
			}
		case *errdetails.BadRequest:
			for _, field := range v.GetFieldViolations() {
				f = f.At(field.GetField(), field.GetDescription())
			}
		case *errdetails.RetryInfo:
			f = f.After(v.GetRetryDelay().AsDuration())
		}
	}
	if f.Reason == "" {
		return unavailable(err)
	}
	switch f.Kind {
	case fault.Unauthenticated, fault.Denied:
		// Our certificate is not accepted. That says nothing about the admin who called, and must not look as if.
		return fault.New(fault.Bug, f.Reason, "The authserver does not accept this control plane.").Because(err)
	default:
		return f.Because(err)
	}
}

func unavailable(cause error) error {
	return fault.New(fault.Unavailable, ReasonUnavailable,
		"The authserver, which keeps secrets, cannot be reached; try again.").Because(cause)
}
