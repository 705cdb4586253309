// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

func resultPolicyKind() kind {
	return kind{
		name: "result-policy", plural: "result-policies",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.ResultPolicies.All(ctx, &adminv1.ListResultPoliciesRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.ResultPolicies.GetResultPolicy(ctx, &adminv1.GetResultPolicyRequest{Name: name})
			return res.GetResultPolicy(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.ResultPolicies.DeleteResultPolicy(ctx, &adminv1.DeleteResultPolicyRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}
