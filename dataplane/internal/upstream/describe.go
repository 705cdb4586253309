// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/catalog"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// errNoMethod marks the refusal of a list that the server does not have, such as
// that of templates where there are only resources.
var errNoMethod = errors.New("no such method")

// Describe asks the upstream for what it is and for its lists. The era is probed
// unless t.Version is set (M-2). All client capabilities are declared, unless
// t.Capabilities says which, but no question is answered. Errors are those of
// [Pool.Call]; an upstream that answers tools/list with a JSON-RPC error is
// Unavailable with [ReasonProtocol]. Other lists that fail are left out and named
// in Missing.
func (p *Pool) Describe(ctx context.Context, t Target) (Description, error) {
	t.Session = ""
	if len(t.Capabilities) == 0 {
		t.Capabilities = []byte(peer.AllCapabilities)
	}
	s, err := p.site(&t)
	if err != nil {
		return Description{}, err
	}
	defer s.users.Add(-1)
	info, ses, err := p.introduce(ctx, s, &t)
	if err != nil {
		return Description{}, err
	}
	if ses != nil {
		defer func() { p.finish(ctx, []*link.Session{ses}) }()
	}
	d := Description{ServerInfo: info}
	ask := func(ctx context.Context, method string, params []byte) ([]byte, error) {
		return p.list(ctx, s, &t, ses, info.Version, method, params)
	}
	err = read(ctx, &d, ask)
	if err != nil {
		err = unlisted(ctx, &t, err)
	}
	return d, err
}

// read reads the lists that the server declares.
func read(ctx context.Context, d *Description, ask catalog.Ask) (err error) {
	fields, bad := wire.Fields(nil, d.Capabilities)
	if bad != nil || wire.Lookup(fields, "tools").Present() { // one that declares nothing has tools
		if d.Tools, err = catalog.Read(ctx, ask, "tools/list", "tools"); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		capability, method, member, name string
		to                               *[][]byte
	}{
		{"prompts", "prompts/list", "prompts", "prompts", &d.Prompts},
		{"resources", "resources/list", "resources", "resources", &d.Resources},
		{"resources", "resources/templates/list", "resourceTemplates", "templates", &d.Templates},
	} {
		if !wire.Lookup(fields, l.capability).Present() {
			continue
		}
		if *l.to, err = catalog.Read(ctx, ask, l.method, l.member); err != nil {
			if ctx.Err() != nil {
				return err
			}
			if *l.to = nil; !errors.Is(err, errNoMethod) {
				d.Missing = append(d.Missing, l.name)
			}
		}
	}
	return nil
}

func unlisted(ctx context.Context, t *Target, err error) error {
	if errors.Is(err, catalog.ErrTooLarge) {
		return t.TooLarge().Because(err)
	}
	return link.NotSent(t, link.Failed(ctx, t, err))
}

// introduce asks the upstream what it is, with a session of its own if legacy.
func (p *Pool) introduce(ctx context.Context, s *site, t *Target) (ServerInfo, *link.Session, error) {
	switch t.Version.Era() {
	case wire.Legacy:
		ses, info, err := p.open(ctx, s, t, speechOf(t), link.Purpose{Discovering: true})
		return info, ses, err
	case wire.Modern:
		info, ask, err := p.discover(ctx, s, t)
		if err == nil && ask != "" {
			info = ServerInfo{Version: t.Version} // pinned, but it knows no discover
		}
		return info, nil, err
	case wire.Unknown:
	}
	return p.detect(ctx, s, t, link.Purpose{Discovering: true})
}

// list sends one list request of a discovery.
func (p *Pool) list(ctx context.Context, s *site, t *Target, ses *link.Session, v wire.Version, method string, params []byte) ([]byte, error) {
	x := p.link.Begin(s.to, t, v, ses)
	defer x.Done()
	if err := x.Fill(&Request{Params: params}); err != nil {
		return nil, err
	}
	a, err := x.Send(ctx, method)
	switch {
	case err != nil:
		return nil, err
	case era.Code(a.Error) == wire.CodeMethodNotFound:
		return nil, t.Garbage("it refuses " + method).Because(fmt.Errorf("%w: %w", errNoMethod, era.Error(a.Error)))
	case a.Error != nil && !a.Credential():
		return nil, t.Garbage("it refuses " + method).Because(era.Error(a.Error))
	case a.Result == nil:
		return nil, t.Refused(a.Status, true)
	}
	return a.Result, nil
}
