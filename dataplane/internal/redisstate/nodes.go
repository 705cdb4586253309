// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The keys of the node registry: one for each node, which runs out, and the set of their names, which does not. All lie in one
// slot; a region has hundreds of nodes, not millions.
const (
	nodePrefix = "pst:{node}:n:"
	nodeNames  = "pst:{node}:names"
)

// reasonNodes (Unavailable): the registry does not answer.
const reasonNodes = "NODE_REGISTRY_UNAVAILABLE"

// Nodes is a [forward.Store] in Redis.
type Nodes struct {
	redis              redis.UniversalClient
	announce, withdraw *redis.Script
}

// A value is "<generation, 20 digits> <0 or 1: draining> <address>": generations compare as text, because numbers of Lua have
// 53 bits.
const (
	announceNode = `
local old = redis.call('GET', KEYS[1])
if old and string.sub(old, 1, 20) > string.sub(ARGV[1], 1, 20) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
return 1`

	withdrawNode = `
local old = redis.call('GET', KEYS[1])
if old and string.sub(old, 1, 20) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[2])
end
return 1`
)

// NewNodes returns the registry that lies in a Redis.
func NewNodes(r redis.UniversalClient) *Nodes {
	return &Nodes{redis: r, announce: redis.NewScript(announceNode), withdraw: redis.NewScript(withdrawNode)}
}

// Announce implements [forward.Store].
func (s *Nodes) Announce(ctx context.Context, n forward.Node, ttl time.Duration) error {
	draining := "0"
	if n.Draining {
		draining = "1"
	}
	value := generation(n) + " " + draining + " " + n.Address
	kept, err := s.announce.Run(ctx, s.redis, []string{nodePrefix + n.Name, nodeNames}, value, ttl.Milliseconds(), n.Name).Int()
	if err != nil {
		return nodesAway("announce a node", err)
	}
	if kept == 0 {
		return fault.New(fault.Conflict, forward.ReasonNameTaken, "A newer process has the name of this node.")
	}
	return nil
}

// Withdraw implements [forward.Store].
func (s *Nodes) Withdraw(ctx context.Context, n forward.Node) error {
	if err := s.withdraw.Run(ctx, s.redis, []string{nodePrefix + n.Name, nodeNames}, generation(n), n.Name).Err(); err != nil {
		return nodesAway("withdraw a node", err)
	}
	return nil
}

// Nodes implements [forward.Store]. Names whose lease has run out are taken out of the set; a node that comes back meanwhile
// puts itself in again with its next announcement.
func (s *Nodes) Nodes(ctx context.Context) ([]forward.Node, error) {
	names, err := s.redis.SMembers(ctx, nodeNames).Result()
	if err != nil {
		return nil, nodesAway("list nodes", err)
	}
	if len(names) == 0 {
		return nil, nil
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = nodePrefix + name
	}
	values, err := s.redis.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nodesAway("list nodes", err)
	}
	nodes := make([]forward.Node, 0, len(names))
	var over []any
	for i, v := range values {
		text, there := v.(string)
		if !there {
			over = append(over, names[i])
			continue
		}
		if n, ok := parseNode(names[i], text); ok {
			nodes = append(nodes, n)
		}
	}
	if len(over) > 0 {
		if err := s.redis.SRem(ctx, nodeNames, over...).Err(); err != nil {
			return nil, nodesAway("forget nodes", err)
		}
	}
	return nodes, nil
}

func generation(n forward.Node) string { return fmt.Sprintf("%020d", n.Generation) }

// parseNode reads a value. Those of a later release, with more fields, are read as far as they are known.
func parseNode(name, value string) (forward.Node, bool) {
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return forward.Node{}, false
	}
	g, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return forward.Node{}, false
	}
	return forward.Node{Name: name, Address: fields[2], Draining: fields[1] == "1", Generation: g}, true
}

func nodesAway(what string, err error) error {
	return fault.New(fault.Unavailable, reasonNodes, "The node registry cannot be reached.").Because(fmt.Errorf("%s: %w", what, err))
}
