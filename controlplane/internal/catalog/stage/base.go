// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"unicode/utf8"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// Base reads one state of a store, deleted records included. Records it returns are shared: nobody writes to them.
type Base interface {
	// Row returns a record, living or deleted, nil if there is none.
	Row(ctx context.Context, key catalog.Key) (*catalog.Record, error)
	// Range returns up to limit records of a span, living and deleted, in name order. A limit of 0 or less is no limit.
	Range(ctx context.Context, s Span, limit int) ([]*catalog.Record, error)
	// Lookup returns the living record of a kind with a Lookup, nil if there is none.
	Lookup(ctx context.Context, kind catalog.Kind, value string) (*catalog.Record, error)
	// Blob returns a blob's bytes, nil if there is none.
	Blob(ctx context.Context, hash catalog.Hash) ([]byte, error)
}

// Span is the names of one kind from From, left out itself if Open, up to but without To; an empty To is the end.
type Span struct {
	Kind     catalog.Kind
	From, To string
	Open     bool
}

// Contains reports whether a name of the span's kind lies in it.
func (s Span) Contains(name string) bool {
	return name >= s.From && (!s.Open || name != s.From) && (s.To == "" || name < s.To)
}

// Prefix returns the span of the names that start with prefix, which is valid UTF-8: its end is the prefix with the last
// character replaced by the next one, since UTF-8 sorts like its code points.
func Prefix(kind catalog.Kind, prefix string) Span {
	s := Span{Kind: kind, From: prefix}
	for end := prefix; end != ""; {
		last, size := utf8.DecodeLastRuneInString(end)
		end = end[:len(end)-size]
		if last == 0xd7ff { // the surrogates that follow are no characters
			last = 0xdfff
		}
		if last < utf8.MaxRune {
			s.To = end + string(last+1)
			break
		}
	}
	return s
}

// After returns the span of the names greater than name; all for an empty name.
func After(kind catalog.Kind, name string) Span {
	return Span{Kind: kind, From: name, Open: name != ""}
}

// Reader is a catalog.Reader on a base: it hides what is deleted.
type Reader struct{ Base Base }

// Get implements catalog.Reader.
func (r Reader) Get(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	rec, err := r.Base.Row(ctx, key)
	if err != nil || rec == nil || !rec.DeleteTime.IsZero() {
		return nil, err
	}
	return rec, nil
}

// GetDeleted implements catalog.Reader.
func (r Reader) GetDeleted(ctx context.Context, key catalog.Key) (*catalog.Record, error) {
	rec, err := r.Base.Row(ctx, key)
	if err != nil || rec == nil || rec.DeleteTime.IsZero() {
		return nil, err
	}
	return rec, nil
}

// Lookup implements catalog.Reader.
func (r Reader) Lookup(ctx context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	if value == "" {
		return nil, nil
	}
	return r.Base.Lookup(ctx, kind, value)
}

// List implements catalog.Reader. It reads on until limit records are found that may be seen.
func (r Reader) List(ctx context.Context, kind catalog.Kind, after string, limit int, deleted bool) ([]*catalog.Record, error) {
	var out []*catalog.Record
	for {
		batch, err := r.Base.Range(ctx, After(kind, after), limit)
		if err != nil {
			return nil, err
		}
		for _, rec := range batch {
			if deleted || rec.DeleteTime.IsZero() {
				out = append(out, rec)
			}
			if limit > 0 && len(out) == limit {
				return out, nil
			}
		}
		if limit <= 0 || len(batch) < limit {
			return out, nil
		}
		after = batch[len(batch)-1].Name
	}
}

// ListPrefix implements catalog.Reader.
func (r Reader) ListPrefix(ctx context.Context, kind catalog.Kind, prefix string) ([]*catalog.Record, error) {
	batch, err := r.Base.Range(ctx, Prefix(kind, prefix), 0)
	if err != nil {
		return nil, err
	}
	out := make([]*catalog.Record, 0, len(batch))
	for _, rec := range batch {
		if rec.DeleteTime.IsZero() {
			out = append(out, rec)
		}
	}
	return out, nil
}

// Blob implements catalog.Reader.
func (r Reader) Blob(ctx context.Context, hash catalog.Hash) ([]byte, error) {
	return r.Base.Blob(ctx, hash)
}
