// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/keyset"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// attrProvider is the log attribute of a provider's name.
const attrProvider = "provider"

// Config is what a [Keys] needs.
type Config struct {
	View *view.Holder
	// Egress guards what is fetched: the setting egress.
	Egress egress.Policy
	// RootCAs are the authorities of servers; nil is the system's.
	RootCAs *x509.CertPool
	// Failed is told the name of a provider whose keys could not be renewed. It must be quick.
	Failed func(ctx context.Context, provider string)
	// File is where the last good keys are kept; empty keeps them in memory only.
	File string
	Log  *slog.Logger
	// Now may be nil, which means time.Now.
	Now func() time.Time
}

// Keys are the keys of identity providers. They are safe for concurrent use.
type Keys struct {
	c    Config
	wake chan struct{}
	file *file

	mu   sync.RWMutex
	sets map[string]*member // by name of the provider
}

// member is the key set of one provider.
type member struct {
	set    *keyset.Set
	source keyset.Source
	of     *view.Provider // as the view had it last
	stop   context.CancelFunc
}

// New returns keys of nobody yet; a damaged file counts as none. Nothing is fetched until Run or a look-up.
func New(c Config) (*Keys, error) {
	if c.View == nil || c.Failed == nil || c.Log == nil {
		return nil, errors.New("keys of identity providers need a view, a logger and somebody to tell of failures")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keys{c: c, wake: make(chan struct{}, 1), sets: make(map[string]*member), file: openFile(c)}, nil
}

// Key implements authn.ProviderKeys.
func (k *Keys) Key(ctx context.Context, p *view.Provider, kid, algorithm string) (*keyset.Key, error) {
	m, err := k.member(p)
	if err != nil {
		return nil, err
	}
	return m.set.Key(ctx, kid, algorithm)
}

// member returns the key set of a provider, a new one if there is none, or one of keys from elsewhere. Run keeps it from then on.
func (k *Keys) member(p *view.Provider) (*member, error) {
	source := keyset.Source{Issuer: p.Issuer, URL: p.KeysURL}
	k.mu.RLock()
	m := k.sets[p.Name]
	k.mu.RUnlock()
	if m != nil && m.source == source {
		return m, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if m = k.sets[p.Name]; m != nil && m.source == source {
		return m, nil
	}
	name := p.Name
	failing := false // of renewals, of which there is one at a time
	set, err := keyset.New(keyset.Config{
		Source: source, Egress: k.c.Egress, RootCAs: k.c.RootCAs, Now: k.c.Now, Last: k.file.last(source),
		Keep: func(ctx context.Context, kept keyset.Kept) { k.file.keep(ctx, source, kept) },
		Fetched: func(ctx context.Context, err error) {
			switch {
			case err != nil:
				k.c.Failed(ctx, name)
				if !failing { // told once: it may last
					k.c.Log.WarnContext(ctx, "keys of an identity provider not renewed", attrProvider, name, obs.AttrError, err.Error())
				}
			case failing:
				k.c.Log.InfoContext(ctx, "keys of an identity provider renewed", attrProvider, name)
			}
			failing = err != nil
		},
	})
	if err != nil {
		return nil, err
	}
	if m != nil && m.stop != nil {
		m.stop()
	}
	m = &member{set: set, source: source}
	k.sets[name] = m
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return m, nil
}

// Run keeps the key sets of the view's providers fresh until ctx is canceled, and returns nil then. A provider that changed is
// asked at once: that is how an administrator has keys fetched anew (JW-10).
func (k *Keys) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		changed := k.c.View.Changed()
		k.follow(ctx, &running)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-k.wake:
		}
	}
}

// follow brings the sets in line with the view.
func (k *Keys) follow(ctx context.Context, running *sync.WaitGroup) {
	s := k.c.View.Load()
	if s == nil {
		return
	}
	there := make(map[string]*view.Provider)
	s.Providers(func(p *view.Provider) bool {
		there[p.Name] = p
		return true
	})
	for _, p := range there {
		m, err := k.member(p)
		if err != nil {
			k.c.Log.WarnContext(ctx, "keys of an identity provider not fetched", attrProvider, p.Name, obs.AttrError, err.Error())
			continue
		}
		k.start(ctx, m, p, running)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, m := range k.sets {
		if there[name] != nil {
			continue
		}
		if m.stop != nil {
			m.stop()
		}
		delete(k.sets, name)
	}
}

// start has a set renewed from now on, or at once if its provider is another one than before.
func (k *Keys) start(ctx context.Context, m *member, p *view.Provider, running *sync.WaitGroup) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sets[p.Name] != m {
		return // the next round has its successor
	}
	if m.stop == nil {
		ctx, m.stop = context.WithCancel(ctx)
		running.Go(func() { _ = m.set.Run(ctx) })
	} else if m.of != p {
		m.set.Refresh()
	}
	m.of = p
}
