// SPDX-License-Identifier: Apache-2.0

package wire

// Edits is a set of changes to one scanned text, in any order: every byte that
// no edit covers leaves as it came (M-9). The zero value is empty and ready;
// Reset makes it reusable without garbage. The replacement bytes are kept, not
// copied, so they must not change before [Edits.AppendTo].
type Edits struct {
	list []edit
}

type editKind uint8

const (
	replaceValue editKind = iota
	deleteMember
	insertMember
)

// edit changes the bytes [from, to) of the text.
type edit struct {
	from, to int
	kind     editKind
	key      string // of an inserted member
	value    []byte
}

// Len returns the number of edits; 0 means that the text can leave as it is.
func (e *Edits) Len() int { return len(e.list) }

// Reset forgets all edits and keeps the memory.
func (e *Edits) Reset() {
	clear(e.list)
	e.list = e.list[:0]
}

// Replace puts value, raw JSON, in the place of the value at s.
func (e *Edits) Replace(s Span, value []byte) {
	e.add(edit{from: s.Start, to: s.End, kind: replaceValue, value: value})
}

// Delete removes the member m with its key and one comma. Absent members are
// no edit.
func (e *Edits) Delete(m Member) {
	if m.Present() {
		e.add(edit{from: m.Key, to: m.End, kind: deleteMember})
	}
}

// Insert adds the member key with value, raw JSON, at the front of the object
// at s. Several members inserted into one object keep their order.
func (e *Edits) Insert(object Span, key string, value []byte) {
	at := object.Start + 1
	e.add(edit{from: at, to: at, kind: insertMember, key: key, value: value})
}

// Set gives the member of the object a value: Replace if m is present, else
// Insert under key.
func (e *Edits) Set(object Span, m Member, key string, value []byte) {
	if m.Present() {
		e.Replace(m.Span, value)
		return
	}
	e.Insert(object, key, value)
}

// add keeps the list sorted by position; insertions of one place come in order
// and before other edits there.
func (e *Edits) add(n edit) {
	i := len(e.list)
	e.list = append(e.list, n)
	for i > 0 && n.before(&e.list[i-1]) {
		e.list[i] = e.list[i-1]
		i--
	}
	e.list[i] = n
}

func (n *edit) before(o *edit) bool {
	if n.from != o.from {
		return n.from < o.from
	}
	return n.kind == insertMember && o.kind != insertMember
}

// AppendTo appends src with all edits made to dst. src is the text that was
// scanned. An edit inside a part that another edit removes or replaces has no
// effect.
func (e *Edits) AppendTo(dst, src []byte) []byte {
	return e.AppendSpan(dst, src, Span{0, len(src)})
}

// AppendSpan is [Edits.AppendTo] for a part of src, for example params alone;
// edits outside the part are ignored.
func (e *Edits) AppendSpan(dst, src []byte, part Span) []byte {
	base, at := len(dst), part.Start
	for i := range e.list {
		n := &e.list[i]
		if n.from < at || n.to > part.End {
			continue
		}
		dst = append(dst, src[at:n.from]...)
		at = n.to
		switch n.kind {
		case replaceValue:
			dst = append(dst, n.value...)
		case insertMember:
			dst = n.insert(dst, src, base)
		case deleteMember:
			dst, at = dropComma(dst, src, base, at)
		}
	}
	return append(dst, src[at:part.End]...)
}

func (n *edit) insert(dst, src []byte, base int) []byte {
	if i := lastToken(dst, base); i >= 0 && dst[i] != '{' && dst[i] != ',' {
		dst = append(dst, ',')
	}
	dst = append(AppendString(dst, n.key), ':')
	dst = append(dst, n.value...)
	if i := nextToken(src, n.to); i < len(src) && src[i] != '}' {
		dst = append(dst, ',')
	}
	return dst
}

// dropComma removes the comma that a deleted member leaves: the one after it,
// or, where it was the last, the one that now ends dst.
func dropComma(dst, src []byte, base, at int) ([]byte, int) {
	if i := nextToken(src, at); i < len(src) && src[i] == ',' {
		return dst, nextToken(src, i+1)
	}
	if i := lastToken(dst, base); i >= 0 && dst[i] == ',' {
		return dst[:i], at
	}
	return dst, at
}

func nextToken(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// lastToken returns the index of the last byte of dst[base:] that is no white
// space, -1 if there is none.
func lastToken(dst []byte, base int) int {
	i := len(dst) - 1
	for i >= base && isSpace(dst[i]) {
		i--
	}
	if i < base {
		return -1
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
