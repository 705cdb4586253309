// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// DiscoverTask returns the task that has a node list a server. c is nil for a server without credential.
func DiscoverTask(s *catalog.Server, c *catalog.Connection) (*distributionv1.DiscoverTask, error) {
	task := &distributionv1.DiscoverTask{Server: &resourcev1.Server{}}
	if err := objectMessage(s, task.GetServer()); err != nil {
		return nil, err
	}
	if err := scope.ForDiscovery(task.GetServer()); err != nil {
		return nil, fmt.Errorf("encode the credential of server %s: %w", s.Name, err)
	}
	if known := task.GetServer().GetStatus(); known != nil { // what was found last time is not needed to find it anew
		task.GetServer().Status = &resourcev1.ServerStatus{ProtocolVersion: known.GetProtocolVersion()}
	}
	if c != nil {
		task.Connection = &resourcev1.Connection{}
		if err := objectMessage(c, task.GetConnection()); err != nil {
			return nil, err
		}
	}
	return task, nil
}

// objectMessage turns a domain object into its message: both have the same JSON form.
func objectMessage(o catalog.Object, m proto.Message) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode %s: %w", o.Kind(), err)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return fmt.Errorf("encode %s: %w", o.Kind(), err)
	}
	return nil
}
