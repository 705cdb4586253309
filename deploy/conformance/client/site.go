// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

const (
	// timeout of a scenario; the suite ends the command after 30 s.
	timeout = 25 * time.Second
	// maxPublishing is how many servers are published at once. A node discovers eight at once and drops what is more.
	maxPublishing = 4
)

// Publisher puts servers behind gateways.
type Publisher interface {
	Publish(ctx context.Context, s gateway.Server) (gateway.Gateway, error)
	Withdraw(ctx context.Context, name string) error
}

// Config is what a site needs.
type Config struct {
	// Publisher makes a gateway for each scenario.
	Publisher Publisher
	// Protector makes those of scenarios that take access tokens.
	Protector Protector
	// Version is what the client speaks to the gateway; the scenario's server may speak another.
	Version string
	// Excluded are scenarios that are not run: the command fails at once.
	Excluded map[string]bool
}

// Site runs the scenarios that the command asks for, several at once if asked so.
type Site struct {
	cfg    Config
	url    string
	server *http.Server
	served chan error
	slots  chan struct{} // one for each server that is being published

	browser *browser
	link    *regexp.Regexp // a link of Penstock's to connect a server

	mu       sync.Mutex
	outcomes map[string]error
	stops    []func() error // of what scenarios started
}

// Start starts a site on loopback.
func Start(ctx context.Context, cfg Config) (*Site, error) {
	who, err := cfg.Protector.Person(ctx)
	if err != nil {
		return nil, err
	}
	b, err := newBrowser(who, nil)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Site{
		cfg: cfg, url: "http://" + l.Addr().String(), served: make(chan error, 1),
		slots: make(chan struct{}, maxPublishing), outcomes: make(map[string]error), browser: b, link: linkTo(who.Issuer),
	}
	mux := http.NewServeMux()
	mux.Handle("/", s)
	mux.Handle(standInPath, standIn())
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

// Stop ends the site.
func (s *Site) Stop() error {
	err := s.server.Close()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stop := range s.stops {
		err = errors.Join(err, stop())
	}
	return err
}

// ErrExcluded is the outcome of an excluded scenario.
var ErrExcluded = errors.New("excluded")

// Outcomes returns what came of each scenario that was asked for, by name; nil is good.
func (s *Site) Outcomes() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.outcomes)
}

// ServeHTTP runs the scenario in the body.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := task{}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&t)
	switch {
	case err != nil:
	case s.cfg.Excluded[t.Scenario]:
		err = ErrExcluded
	default:
		err = s.run(r.Context(), t)
	}
	s.mu.Lock()
	s.outcomes[t.Scenario] = errors.Join(s.outcomes[t.Scenario], err)
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// dashes stand for what names of resources cannot have.
var dashes = regexp.MustCompile(`[^a-z0-9]+`)

func (s *Site) run(ctx context.Context, t task) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name := strings.Trim(dashes.ReplaceAllString(strings.ToLower(t.Scenario+"-for-"+s.cfg.Version), "-"), "-")
	// Also after a failure half way: a scenario ends when its server has lost all connections, and the node keeps some for as long
	// as there is the gateway.
	defer func() {
		if gone := s.cfg.Publisher.Withdraw(context.WithoutCancel(ctx), name); gone != nil {
			err = errors.Join(err, fmt.Errorf("withdraw the gateway: %w", gone))
		}
	}()
	server := gateway.Server{Name: name, URL: t.URL, Protocol: "AUTO"}
	if strings.HasPrefix(t.Scenario, authPrefix) {
		return s.authorized(ctx, t, server)
	}
	var published gateway.Gateway
	err = s.slot(ctx, func() (err error) {
		published, err = s.cfg.Publisher.Publish(ctx, server)
		return err
	})
	if err != nil {
		return err
	}
	return use(ctx, published, s.cfg.Version, t)
}

// slot waits until a server may be discovered.
func (s *Site) slot(ctx context.Context, discover func() error) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.slots }()
	return discover()
}
