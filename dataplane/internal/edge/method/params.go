// SPDX-License-Identifier: Apache-2.0

package method

import (
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Check reports as Invalid (-32602) what params lacks or has in the wrong form. p and meta are the scan of body.
func (m Method) Check(p *wire.Params, meta *wire.Meta, body []byte) error {
	switch {
	case m.Needs&Name != 0 && !wire.IsString(p.Name.Of(body)):
		return invalid("params.name must be a string")
	case m.Needs&URI != 0 && !wire.IsString(p.URI.Of(body)):
		return invalid("params.uri must be a string")
	case m.Needs&Task != 0 && !wire.IsString(p.TaskID.Of(body)):
		return invalid("params.taskId must be a string")
	case m.Needs&Arguments != 0 && p.Arguments.Present() && !wire.IsObject(p.Arguments.Of(body)):
		return invalid("params.arguments must be an object")
	}
	if m.Needs&Reference != 0 {
		if err := checkReference(p, body); err != nil {
			return err
		}
	}
	if token := meta.ProgressToken.Of(body); token != nil && !wire.IsString(token) {
		if _, ok := wire.Int(token); !ok {
			return invalid("the progress token must be a string or an integer")
		}
	}
	return nil
}

func checkReference(p *wire.Params, body []byte) error {
	switch {
	case !wire.IsObject(p.Ref.Of(body)):
		return invalid("params.ref must be an object")
	case !wire.IsObject(p.Argument.Of(body)):
		return invalid("params.argument must be an object")
	}
	switch kind := p.RefType.Of(body); {
	case wire.EqualString(kind, "ref/prompt"):
		if !wire.IsString(p.RefName.Of(body)) {
			return invalid("params.ref.name must be a string")
		}
	case wire.EqualString(kind, "ref/resource"):
		if !wire.IsString(p.RefURI.Of(body)) {
			return invalid("params.ref.uri must be a string")
		}
	default:
		return invalid("params.ref.type must be ref/prompt or ref/resource")
	}
	return nil
}

// CheckRetry reports as Invalid what a modern client's retry (M-79) has in the wrong form.
func CheckRetry(p *wire.Params, body []byte) error {
	switch {
	case p.RequestState.Present() && !wire.IsString(p.RequestState.Of(body)):
		return invalid("params.requestState must be a string")
	case p.InputResponses.Present() && !wire.IsObject(p.InputResponses.Of(body)):
		return invalid("params.inputResponses must be an object")
	case p.InputResponses.Present():
		_, err := wire.Fields(nil, p.InputResponses.Of(body))
		return err //nolint:wrapcheck // a key twice (M-10): a fault with the code to answer
	}
	return nil
}

func invalid(text string) error { return fault.New(fault.Invalid, wire.ReasonParams, text) }
