// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/child"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Target is one stdio server, resolved for one call. It is immutable.
type Target struct {
	// Server and Connection are names for errors and logs; Connection is what [Pool.Drop] goes by.
	Server, Connection string
	// Command is an absolute path, or a name that is looked up in the node's own PATH when the process starts.
	Command string
	Args    []string
	// Env and SecretEnv together are the whole environment of the process; SecretEnv wins. Nothing is inherited.
	Env       map[string]string
	SecretEnv map[string]obs.Secret
	// Version is the version found by discovery, or set. Empty means not known: the first process is probed (M-2).
	Version wire.Version
	// Key is the identity of connection and credential: it separates processes.
	Key string
	// PrincipalKey owns the process, unless Stateless (M-59).
	PrincipalKey string
	// Session is the uid of the client's legacy session, empty for a modern client. It separates nothing: it says who hears
	// what the process says outside of calls, see [Pool.Attach].
	Session string
	// Capabilities is the raw ClientCapabilities object to declare; nil for none. It separates processes, byte for byte.
	Capabilities []byte
	// Stateless says that the server keeps nothing about its callers, so that they may share a process. One that is declared
	// capabilities is not shared all the same: its questions must not reach another person (M-59).
	Stateless bool
	// CallTimeout is restarted by progress (M-49). Default 60 s.
	CallTimeout time.Duration
	// MaxResponse bounds one message of the server in bytes. Default [Config].MaxMessage.
	MaxResponse int64
	// MaxConcurrent bounds calls under way for the process, beyond which they wait for a moment; 0 is no bound.
	MaxConcurrent int
}

// shared says whether principals share the process.
func (t *Target) shared() bool { return t.Stateless && len(t.Capabilities) == 0 }

// peer returns the target in the words of all transports.
func (t *Target) peer(most int64) *upstream.Target {
	if t.MaxResponse > 0 {
		most = t.MaxResponse
	}
	return &upstream.Target{
		Server: t.Server, Connection: t.Connection, Version: t.Version, Key: t.Key, PrincipalKey: t.PrincipalKey, Session: t.Session,
		Capabilities: t.Capabilities, Stateless: t.Stateless, CallTimeout: t.CallTimeout, MaxResponse: most, MaxConcurrent: t.MaxConcurrent,
	}
}

func (t *Target) process(dir string) child.Spec {
	return child.Spec{Command: t.Command, Args: t.Args, Env: t.Env, Secrets: t.SecretEnv, Dir: dir}
}

// siteKey is what a process belongs to. print tells one set of settings from another: a change of the server's
// settings starts a new process, and the old one ends when idle.
type siteKey struct {
	key, principal, connection string
	capabilities               string
	print                      uint64
	describing                 bool // for one description, which must not ask a process of yesterday
}

// keyOf returns the site of a target.
func (p *Pool) keyOf(t *Target) siteKey {
	k := siteKey{key: t.Key, principal: t.PrincipalKey, connection: t.Connection, capabilities: string(t.Capabilities)}
	if t.shared() {
		k.principal = ""
	}
	var h maphash.Hash
	h.SetSeed(p.seed)
	add := func(text string) {
		_, _ = h.WriteString(text) // it never fails
		_ = h.WriteByte(0)         // it never fails
	}
	add(t.Command)
	for _, a := range t.Args {
		add(a)
	}
	add("")
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		add(name)
		add(t.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.SecretEnv)) {
		add(name)
		add(t.SecretEnv[name].Reveal())
	}
	k.print = h.Sum64()
	return k
}

// fault names the server. The reasons are those of the other transport: what goes wrong with an upstream has one name.
func (t *Target) fault(k fault.Kind, reason, tail string) *fault.Fault {
	return fault.Newf(k, reason, "The server %q %s.", t.Server, tail)
}

func (t *Target) unreachable(tail string) *fault.Fault {
	return t.fault(fault.Unavailable, upstream.ReasonUnreachable, tail)
}

func (t *Target) busy(tail string) *fault.Fault {
	return t.fault(fault.Exhausted, upstream.ReasonBusy, tail).After(time.Second)
}

func (t *Target) silent(cause error) *fault.Fault {
	return t.fault(fault.Precondition, upstream.ReasonNoStream, "does not tell of changes").Because(cause)
}

func (t *Target) paused(wait time.Duration, last error) *fault.Fault {
	wait = wait.Round(100 * time.Millisecond)
	return t.fault(fault.Unavailable, upstream.ReasonUnreachable, "keeps failing; it will not be started again for "+wait.String()).
		After(wait).Because(last)
}

// givenUp is the end of a call whose context ended.
func givenUp(ctx context.Context) *fault.Fault {
	return fault.From(ctx.Err()).Because(context.Cause(ctx))
}
