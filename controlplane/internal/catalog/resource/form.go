// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Encode returns the stored form of a resource: canonical JSON — fields in their fixed order, maps sorted, defaults left
// out — without name, UID, etag and times, which the record has, and without what is not stored with it: secrets, tool
// definitions, a gateway's tools, and whatever is computed at a read.
func Encode(o Object) ([]byte, error) {
	var v any
	switch o := o.(type) {
	case *Server:
		c := *o
		c.Meta = stored(o.Meta)
		if c.Status != nil {
			kept := *o.Status
			kept.DiscoverTime, kept.LastError = time.Time{}, ""
			if c.Status = &kept; reflect.ValueOf(kept).IsZero() {
				c.Status = nil
			}
		}
		if c.Credential != nil {
			c.Credential = c.Credential.withoutSecret()
		}
		v = c
	case *Connection:
		c := *o
		c.Meta, c.SecretHeaders, c.SecretEnv, c.Status = stored(o.Meta), nil, nil, nil
		v = c
	case *Tool:
		c := *o
		c.Meta, c.Definition, c.PendingDefinition = stored(o.Meta), nil, nil
		v = c
	case *Gateway:
		c := *o
		c.Meta, c.Tools, c.Status = stored(o.Meta), nil, nil
		v = c
	case *Team:
		c := *o
		c.Meta = stored(o.Meta)
		v = c
	case *User:
		c := *o
		c.Meta = stored(o.Meta)
		v = c
	case *IdentityProvider:
		c := *o
		c.Meta, c.ClientSecret = stored(o.Meta), ""
		if c.SharedSignals != nil && c.SharedSignals.PollToken != "" {
			kept := *c.SharedSignals
			kept.PollToken, c.SharedSignals = "", &kept
		}
		v = c
	case *OAuthClient:
		c := *o
		c.Meta = stored(o.Meta)
		v = c
	case *Policy:
		c := *o
		c.Meta = stored(o.Meta)
		v = c
	case *ResultPolicy:
		c := *o
		c.Meta = stored(o.Meta)
		v = c
	case *BearerToken:
		c := *o
		c.Meta, c.LastUseTime, c.SHA256, c.TTL = stored(o.Meta), time.Time{}, nil, nil
		v = c
	default:
		return nil, fmt.Errorf("encode %T: it is not a resource", o)
	}
	return marshal(v)
}

// EncodeAssignment returns the stored form of one tool on a gateway.
func EncodeAssignment(a ToolAssignment) ([]byte, error) { return marshal(a) }

// stored keeps of the metadata what the body has.
func stored(m Meta) Meta { return Meta{Labels: m.Labels} }

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode resource: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads the stored form of a resource.
func Decode(k Kind, body []byte) (Object, error) {
	o, err := New(k)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, o); err != nil {
		return nil, fmt.Errorf("decode %s: %w", k, err)
	}
	return o, nil
}

// DecodeAssignment reads the stored form of one tool on a gateway.
func DecodeAssignment(body []byte) (ToolAssignment, error) {
	var a ToolAssignment
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("decode assignment: %w", err)
	}
	return a, nil
}

// Clone returns a deep copy with everything that has a JSON form.
func Clone[T Object](o T) (T, error) {
	var none T
	b, err := json.Marshal(o)
	if err != nil {
		return none, fmt.Errorf("copy %s: %w", o.Kind(), err)
	}
	c, err := Decode(o.Kind(), b)
	if err != nil {
		return none, err
	}
	copied, ok := c.(T)
	if !ok {
		return none, fmt.Errorf("the copy of a %s is a %T", o.Kind(), c)
	}
	return copied, nil
}
