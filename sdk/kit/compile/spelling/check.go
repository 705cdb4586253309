// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

// Check returns the first member of the arguments, a raw JSON object, that a server may take for one that is read and is not it; found
// is false if there is none. A name that the schema, which may be nil, has in that place is the server's own word for it, and no other
// spelling: a policy that covers many tools and reads user_id does not stop one whose argument is userId. What is no JSON has no names:
// conditions on it fail.
func (n *Names) Check(arguments []byte, schema *inputschema.Schema) (p inputschema.Problem, found bool) {
	if n == nil || !isObject(arguments) || !json.Valid(arguments) {
		return p, false
	}
	c := &check{names: n, d: json.NewDecoder(bytes.NewReader(arguments))}
	c.d.UseNumber()
	c.value(schema.Place())
	return c.problem, c.found
}

// check walks arguments that are valid JSON.
type check struct {
	names   *Names
	d       *json.Decoder
	path    []any // names, and indexes of elements
	problem inputschema.Problem
	found   bool
}

// value walks one value, until a problem is found.
func (c *check) value(at inputschema.Place) {
	token, err := c.d.Token()
	if err != nil {
		return
	}
	switch token {
	case json.Delim('{'):
		c.members(at)
	case json.Delim('['):
		for i := 0; c.d.More() && !c.found; i++ {
			c.path = append(c.path, i)
			c.value(at.Element(i))
			c.path = c.path[:len(c.path)-1]
		}
		_, _ = c.d.Token() // the text is valid: it is the end
	}
}

func (c *check) members(at inputschema.Place) {
	var before []string // names of the object so far
	for c.d.More() && !c.found {
		token, _ := c.d.Token() // the text is valid: it is a name
		name, _ := token.(string)
		if c.member(at, name, before); c.found {
			return
		}
		before = append(before, name)
		c.path = append(c.path, name)
		c.value(at.Member(name))
		c.path = c.path[:len(c.path)-1]
	}
	_, _ = c.d.Token()
}

// member looks at a name, with those before it in its object.
func (c *check) member(at inputschema.Place, name string, before []string) {
	if read, ok := c.names.meant(name, len(c.path) == 0); ok && !at.Has(name) {
		c.say("it has %s, which a server may take for %s; write %s", name, read, read)
		return
	}
	if !c.names.All {
		return
	}
	if i := slices.IndexFunc(before, func(one string) bool { return one != name && Alike(one, name) }); i >= 0 && !at.Has(name, before[i]) {
		c.say("it has both %s and %s, which a server may take for one; leave one out", before[i], name)
		return
	}
	if at.Has(name) {
		return
	}
	for _, declared := range at.Names() {
		if Alike(declared, name) {
			c.say("it has %s, which a server may take for %s; write %s", name, declared, declared)
			return
		}
	}
}

func (c *check) say(format string, names ...string) {
	quoted := make([]any, len(names))
	for i, name := range names {
		quoted[i] = inputschema.Quote(name)
	}
	c.found = true
	c.problem = inputschema.Problem{Path: inputschema.Path(c.path), Text: fmt.Sprintf(format, quoted...)}
}
