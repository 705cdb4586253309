// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// kind is what the general commands can do with one kind of resource. A nil function is something it cannot do.
type kind struct {
	name, plural string
	short        string // one more word for it
	all          func(context.Context, *admin.Client, listing) iter.Seq2[proto.Message, error]
	get          func(context.Context, *admin.Client, string) (proto.Message, error)
	remove       func(context.Context, *admin.Client, removal) (uint64, error)
	undelete     func(context.Context, *admin.Client, string) (uint64, error)
}

// listing is which resources to list.
type listing struct {
	filter  string
	deleted bool
}

// removal is which resource to delete.
type removal struct {
	name, etag string
	dryRun     bool
}

// kinds lists all kinds, in the order in which help shows them.
func kinds() []kind {
	return []kind{
		gatewayKind(), serverKind(), connectionKind(), toolKind(), teamKind(), userKind(), tokenKind(),
		providerKind(), clientKind(), policyKind(), resultPolicyKind(),
		{
			name: "node", plural: "nodes",
			all: func(ctx context.Context, c *admin.Client, _ listing) iter.Seq2[proto.Message, error] {
				return messages(c.Nodes.All(ctx, nil))
			},
			get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
				res, err := c.Nodes.GetNode(ctx, &adminv1.GetNodeRequest{Name: name})
				return res.GetNode(), err
			},
		},
	}
}

// kindWords returns the words for all kinds.
func kindWords() []string {
	var words []string
	for _, k := range kinds() {
		words = append(words, k.name, k.plural)
		if k.short != "" {
			words = append(words, k.short)
		}
	}
	return words
}

// kindCalled returns the kind with a name, plural or short name.
func kindCalled(word string) (kind, error) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return word == k.name || word == k.plural || word == k.short && word != "" })
	if i < 0 {
		return kind{}, usageError{fmt.Errorf("unknown kind %q", word)} // the grammar refuses it before
	}
	return all[i], nil
}

// messages forgets the type of what is listed.
func messages[M proto.Message](in iter.Seq2[M, error]) iter.Seq2[proto.Message, error] {
	return func(yield func(proto.Message, error) bool) {
		for m, err := range in {
			if !yield(m, err) {
				return
			}
		}
	}
}

func gatewayKind() kind {
	return kind{
		name: "gateway", plural: "gateways", short: "gw",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Gateways.All(ctx, &adminv1.ListGatewaysRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: name})
			return res.GetGateway(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Gateways.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
		undelete: func(ctx context.Context, c *admin.Client, name string) (uint64, error) {
			res, err := c.Gateways.UndeleteGateway(ctx, &adminv1.UndeleteGatewayRequest{Name: name})
			return res.GetRevision(), err
		},
	}
}

func serverKind() kind {
	return kind{
		name: "server", plural: "servers",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Servers.All(ctx, &adminv1.ListServersRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Servers.GetServer(ctx, &adminv1.GetServerRequest{Name: name})
			return res.GetServer(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Servers.DeleteServer(ctx, &adminv1.DeleteServerRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
		undelete: func(ctx context.Context, c *admin.Client, name string) (uint64, error) {
			res, err := c.Servers.UndeleteServer(ctx, &adminv1.UndeleteServerRequest{Name: name})
			return res.GetRevision(), err
		},
	}
}

func connectionKind() kind {
	return kind{
		name: "connection", plural: "connections",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Connections.All(ctx, &adminv1.ListConnectionsRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Connections.GetConnection(ctx, &adminv1.GetConnectionRequest{Name: name})
			return res.GetConnection(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Connections.DeleteConnection(ctx, &adminv1.DeleteConnectionRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}

func toolKind() kind {
	return kind{
		name: "tool", plural: "tools",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Tools.All(ctx, &adminv1.ListToolsRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Tools.GetTool(ctx, &adminv1.GetToolRequest{Name: name})
			return res.GetTool(), err
		},
	}
}
