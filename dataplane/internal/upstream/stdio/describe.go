// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/catalog"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// errNoMethod marks the refusal of a list that the server does not have, such as that of templates where there are only
// resources.
var errNoMethod = errors.New("no such method")

// Describe asks the server of a target for what it is and for its lists, each member raw, byte for byte, in the server's
// order. It asks a process of its own, which ends afterwards: what is installed may have changed since another started. The
// era is probed unless t.Version is set. All client capabilities are declared, unless t.Capabilities says which; roots/list is
// answered with no roots, other questions are refused.
//
// At most 100 pages of a list are read (M-70). Errors are those of [Pool.Call]; a server that answers tools/list with a
// JSON-RPC error is Unavailable with UPSTREAM_PROTOCOL. Other lists that fail are left out and named in Missing.
func (p *Pool) Describe(ctx context.Context, t Target) (upstream.Description, error) {
	t.Session = ""
	if len(t.Capabilities) == 0 {
		t.Capabilities = []byte(peer.AllCapabilities)
	}
	k := p.keyOf(&t)
	k.describing = true
	s, leave, err := p.enter(&t, k)
	if err != nil {
		return upstream.Description{}, err
	}
	defer leave()
	x, err := p.ready(ctx, s, &t)
	if err != nil {
		return upstream.Description{}, err
	}
	x.Allow(t.peer(p.cfg.MaxMessage).MaxResponse)
	d := upstream.Description{ServerInfo: x.Info()}
	if err := t.read(ctx, &d, t.lister(x)); err != nil {
		return upstream.Description{}, err
	}
	return d, nil
}

// lister returns what asks for a page of a list.
func (t *Target) lister(x *talk.Talk) catalog.Ask {
	return func(ctx context.Context, method string, params []byte) ([]byte, error) {
		e := talk.Exchange{Talk: x, Timeout: t.CallTimeout}
		a, err := e.Run(ctx, &upstream.Request{Method: method, Params: params})
		switch {
		case err != nil:
			return nil, err
		case era.Code(a.Error) == wire.CodeMethodNotFound:
			return nil, fmt.Errorf("%w: %w", errNoMethod, t.refuses(method, a.Error))
		case a.Error != nil:
			return nil, t.refuses(method, a.Error)
		}
		return a.Raw, nil
	}
}

func (t *Target) refuses(method string, object []byte) *fault.Fault {
	return t.peer(0).Garbage("it refuses " + method).Because(era.Error(object))
}

// read reads the lists that the server declares.
func (t *Target) read(ctx context.Context, d *upstream.Description, ask catalog.Ask) (err error) {
	fields, bad := wire.Fields(nil, d.Capabilities)
	if bad != nil || wire.Lookup(fields, "tools").Present() { // one that declares nothing has tools
		if d.Tools, err = catalog.Read(ctx, ask, "tools/list", "tools"); err != nil {
			return t.unlisted(err)
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
		if bad != nil || !wire.Lookup(fields, l.capability).Present() {
			continue
		}
		if *l.to, err = catalog.Read(ctx, ask, l.method, l.member); err == nil {
			continue
		}
		if ctx.Err() != nil {
			return givenUp(ctx)
		}
		if *l.to = nil; !errors.Is(err, errNoMethod) {
			d.Missing = append(d.Missing, l.name)
		}
	}
	return nil
}

func (t *Target) unlisted(err error) error {
	var bad *exchange.Garbage
	switch {
	case errors.As(err, &bad):
		return t.peer(0).Garbage(bad.What).Because(err)
	case errors.Is(err, catalog.ErrTooLarge):
		return t.peer(0).TooLarge().Because(err)
	}
	return fault.From(err)
}
