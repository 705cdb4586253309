// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Reasons of the faults that this package makes by itself, in [From].
const (
	ReasonInternal = "INTERNAL"
	ReasonCanceled = "CANCELED"
	ReasonTimeout  = "TIMEOUT"
)

// Fault is a classified error.
//
// Reason is UPPER_SNAKE (for example "GATEWAY_NOT_FOUND"), stable across
// releases, and travels in google.rpc.ErrorInfo. Public is a sentence for the
// caller: it goes onto the wire, so it holds no secret, no address inside the
// deployment and no text of a driver. Retry is how long the caller should
// wait before it tries again; zero says nothing about that. Fields name the
// parts of the input that were refused.
//
// A Fault is immutable once made: [Fault.Because], [Fault.After] and
// [Fault.At] return copies, so a package may keep faults as sentinels.
type Fault struct {
	Kind   Kind
	Reason string
	Public string
	Retry  time.Duration
	Fields []Field

	cause error
}

// Field names one refused part of an input: Path is its dotted path with
// proto names (for example "gateway.tools[2].exposed_name"), Problem a phrase
// that says what is wrong with it.
type Field struct {
	Path, Problem string
}

// New returns a Fault of kind k. The reason is UPPER_SNAKE, the public text
// goes onto the wire.
func New(k Kind, reason, public string) *Fault {
	return &Fault{Kind: k, Reason: reason, Public: public}
}

// Newf is [New] with a formatted public text. It does not understand %w: a
// cause is given with [Fault.Because], because causes never leave the process.
func Newf(k Kind, reason, format string, a ...any) *Fault {
	return New(k, reason, fmt.Sprintf(format, a...))
}

// Because returns a copy of f with the given cause. errors.Is and errors.As
// reach the cause; it is logged and never sent.
func (f *Fault) Because(cause error) *Fault {
	c := f.copy()
	c.cause = cause
	return c
}

// After returns a copy of f that asks the caller to wait d before trying
// again.
func (f *Fault) After(d time.Duration) *Fault {
	c := f.copy()
	c.Retry = d
	return c
}

// At returns a copy of f with one more refused field.
func (f *Fault) At(path, problem string) *Fault {
	c := f.copy()
	c.Fields = append(c.Fields, Field{Path: path, Problem: problem})
	return c
}

// copy never shares the backing array of Fields, so that two copies of one
// sentinel can grow at the same time.
func (f *Fault) copy() *Fault {
	c := *f
	c.Fields = slices.Clone(f.Fields)
	return &c
}

// Error returns reason, public text and cause, for logs. Send Public, not
// this.
func (f *Fault) Error() string {
	if f == nil { // a nil *Fault returned as error: a bug, which must not take the process down
		return "nil fault"
	}
	text := f.Reason
	if f.Public != "" {
		text += ": " + f.Public
	}
	if f.cause != nil {
		text += ": " + f.cause.Error()
	}
	return text
}

// Unwrap returns the cause, nil when there is none.
func (f *Fault) Unwrap() error {
	if f == nil {
		return nil
	}
	return f.cause
}

// Is reports whether target is a Fault of the same kind and reason, so that
// errors.Is(err, sentinel) holds for every copy made of the sentinel. It looks
// at f alone: errors.Is walks the chain.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && f != nil && t != nil && t.Kind == f.Kind && t.Reason == f.Reason
}

// From returns the outermost Fault inside err. Without one it classifies:
// context.Canceled is Canceled, context.DeadlineExceeded is Timeout, and
// anything else is a Bug with a text that tells nothing, because an
// unclassified error may hold anything. The result keeps err as its cause.
// From(nil) is nil.
func From(err error) *Fault {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Fault](err); ok && f != nil {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		return New(Canceled, ReasonCanceled, "The call was canceled.").Because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return New(Timeout, ReasonTimeout, "The call took longer than it was given.").Because(err)
	default:
		return New(Bug, ReasonInternal, "An internal error occurred.").Because(err)
	}
}

// KindOf returns the kind of [From](err). It is for errors: a nil err has no
// kind and gives Bug.
func KindOf(err error) Kind {
	if err == nil {
		return Bug
	}
	return From(err).Kind
}
