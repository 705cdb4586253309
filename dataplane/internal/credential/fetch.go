// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of faults that this room makes. Others are the authserver's: CREDENTIAL_MISSING, CREDENTIAL_UNREADABLE,
// CREDENTIAL_DEAD, TOO_MANY_CONNECT_LINKS.
const (
	// ReasonUnavailable: the authserver gives no answer (Unavailable).
	ReasonUnavailable = "AUTHSERVER_UNAVAILABLE"
	// ReasonRefused: the authserver does not accept this node (Unavailable).
	ReasonRefused = "AUTHSERVER_REFUSED"
	// ReasonBehind is the authserver's word: it knows another version of how the credential is made than this node (Unavailable).
	ReasonBehind = "CREDENTIAL_VERSION_UNKNOWN"
)

// A change of how a credential is made reaches nodes and authservers at nearly the same moment: who is first asks again.
const (
	behindTries = 5
	behindPause = 200 * time.Millisecond
)

const (
	// errorDomain is the domain of google.rpc.ErrorInfo of every process of Penstock.
	errorDomain = "penstock"
	// renewRetry is the pause after a renewal that failed.
	renewRetry = 10 * time.Second
)

// flight is one question to the authserver, and all who wait for the answer.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the fields below are final

	cred    *Credential
	err     error
	revoked bool // guarded by Client.mu until done
}

// launch starts a fetch. It is detached from the call that asked first: others wait for it too. The caller holds mu.
func (c *Client) launch(ctx context.Context, k key, s Subject) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	f := &flight{cancel: cancel, done: make(chan struct{})}
	c.flights[k] = f
	c.fetches.Go(func() {
		defer cancel()
		c.land(ctx, k, f, c.fetch(ctx, k, s))
	})
	return f
}

// answer is what came of a fetch: an entry, or an error.
type answer struct {
	entry *entry
	err   error
}

func (c *Client) fetch(ctx context.Context, k key, s Subject) answer {
	m := &credentialv1.ResolveRequest{
		ConnectionUid: k.connection, Version: k.version, Refused: k.refused, SubjectToken: s.Token.Reveal(), SubjectProvider: s.Provider,
	}
	if k.uid != "" {
		m.Principal = &credentialv1.ResolvePrincipal{Kind: string(k.kind), Uid: k.uid}
	}
	started := time.Now()
	r, err := c.ask(ctx, m)
	c.seconds.Record(ctx, time.Since(started).Seconds())
	if err != nil {
		return answer{err: err}
	}
	if r.GetSecret() == nil {
		return answer{err: unavailable(errors.New("the answer has no secret"))}
	}
	now := c.now()
	expires := now // without a time it serves those who wait, and nobody later
	if t := r.GetExpireTime(); t.IsValid() {
		expires = t.AsTime()
	}
	if latest := now.Add(maxLifetime); expires.After(latest) {
		expires = latest
	}
	return answer{entry: newEntry(k, r.GetSecret(), now, expires)}
}

// ask asks the authserver, and again for a moment while it knows another version than this node.
func (c *Client) ask(ctx context.Context, m *credentialv1.ResolveRequest) (*credentialv1.ResolveResponse, error) {
	for try := 1; ; try++ {
		r, err := c.remote.Resolve(ctx, m)
		if err == nil {
			return r, nil
		}
		f := toFault(err)
		if try == behindTries || fault.From(f).Reason != ReasonBehind {
			return nil, f
		}
		pause := time.NewTimer(behindPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, f
		}
	}
}

// land publishes what came of a fetch to those who wait, and to the cache.
func (c *Client) land(ctx context.Context, k key, f *flight, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	if f.revoked {
		if a.entry != nil {
			clear(a.entry.buf)
		}
		return
	}
	delete(c.flights, k)
	k = k.entry()
	f.err = a.err
	if a.err != nil {
		c.failed(ctx, k, a.err)
		return
	}
	c.serial++
	a.entry.serial = c.serial
	f.cred = a.entry.credential()
	if c.ended || !c.now().Before(a.entry.expires) {
		clear(a.entry.buf)
		return
	}
	c.keep(k, a.entry)
}

// failed decides about the entry that a failed fetch was to renew. When the authserver is away it serves until it
// expires; when the authserver says that there is no such credential any more, it goes at once.
func (c *Client) failed(ctx context.Context, k key, err error) {
	e := c.entries[k]
	if e == nil {
		return
	}
	f := fault.From(err)
	if f.Kind == fault.Precondition {
		c.drop(k)
	} else {
		e.renew = c.now().Add(renewRetry)
	}
	c.log.WarnContext(ctx, "credential not renewed", obs.AttrConnection, k.connection, obs.AttrFaultReason, f.Reason, obs.AttrError, err.Error())
}

// toFault reads a fault out of the authserver's answer. An answer without google.rpc.ErrorInfo did not come from the
// authserver's code: the network, a proxy, a process that is starting.
func toFault(err error) error {
	remote, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return unavailable(err)
	}
	for _, d := range remote.Details() {
		value, detailErr := d.Value()
		if detailErr != nil {
			continue // a detail of a newer release
		}
		info, ok := value.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != errorDomain {
			continue
		}
		switch fault.KindOfConnect(uint32(remote.Code())) {
		case fault.Precondition:
			return fault.New(fault.Precondition, info.GetReason(), remote.Message()).Because(err)
		case fault.Exhausted:
			return fault.New(fault.Exhausted, info.GetReason(), remote.Message()).Because(err)
		case fault.Unauthenticated, fault.Denied:
			// It is about this node, and must not look as if it were about the caller.
			return fault.New(fault.Unavailable, ReasonRefused,
				"The authserver does not accept this node, so the credential of this connection is not at hand.").Because(err)
		default:
			if info.GetReason() == ReasonBehind {
				return fault.New(fault.Unavailable, ReasonBehind, remote.Message()).Because(err)
			}
			return unavailable(err)
		}
	}
	return unavailable(err)
}

func unavailable(cause error) error {
	return fault.New(fault.Unavailable, ReasonUnavailable,
		"The credential of this connection is not at hand, because the authserver cannot be reached.").Because(cause)
}

// inject sends the trace along (G-62).
func inject(p propagation.TextMapPropagator) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			p.Inject(ctx, propagation.HeaderCarrier(r.Header()))
			return next(ctx, r)
		}
	})
}
