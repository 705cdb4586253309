// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

func policyKind() kind {
	return kind{
		name: "policy", plural: "policies",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Policies.All(ctx, &adminv1.ListPoliciesRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Policies.GetPolicy(ctx, &adminv1.GetPolicyRequest{Name: name})
			return res.GetPolicy(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Policies.DeletePolicy(ctx, &adminv1.DeletePolicyRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}
