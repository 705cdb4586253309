// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/grammar"
)

// errUnreadable: what cannot be read, cannot be looked through.
var errUnreadable = errors.New("not JSON")

var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// Result returns a result object without what the patterns match: raw itself if nothing does. task says that it is the result of a
// method about tasks, which names one.
func (r *Redactor) Result(raw []byte, task bool) ([]byte, error) {
	at := top
	switch kind := wire.Get(raw, "resultType"); {
	case task && wire.Get(raw, "content") == nil, wire.EqualString(kind, "task"):
		at = taskState
	case wire.EqualString(kind, "input_required"):
		at = pending
	}
	return r.walk(raw, at)
}

// Error does so for a JSON-RPC error object.
func (r *Redactor) Error(raw []byte) ([]byte, error) { return r.walk(raw, problem) }

// Notification does so for a notification, a whole message.
func (r *Redactor) Notification(raw []byte) ([]byte, error) { return r.walk(raw, message) }

// Question does so for the params of a request to a client; nil stays nil.
func (r *Redactor) Question(params []byte) ([]byte, error) {
	if params == nil {
		return nil, nil
	}
	return r.walk(params, asked)
}

func (r *Redactor) walk(raw []byte, at place) ([]byte, error) {
	w := walker{Scanner: grammar.Scanner{Text: raw}, r: r}
	if at == message {
		method, _ := wire.DecodeString(wire.Get(raw, "method"))
		w.params = params(method)
	}
	if !w.value(at, "", 0) || w.Peek() != 0 {
		return nil, errUnreadable
	}
	if w.edits.Len() == 0 {
		return raw, nil
	}
	return w.edits.AppendTo(make([]byte, 0, len(raw)+len(raw)/8), raw), nil
}

// walker goes through one text.
type walker struct {
	grammar.Scanner
	r      *Redactor
	edits  wire.Edits
	params place // what the params of the notification are
	named  int   // names that were taken out
	mime   string
}

// value walks a value that is, or stands in, the member name of an object at a place.
func (w *walker) value(at place, name string, depth int) bool {
	switch w.Peek() {
	case '"':
		return w.text(at, name)
	case '{':
		return w.object(at, depth+1)
	case '[':
		return w.array(at, name, depth+1)
	default:
		return w.Value(depth)
	}
}

func (w *walker) array(at place, name string, depth int) bool {
	if depth > grammar.MaxDepth {
		return false
	}
	w.I++
	if w.Peek() == ']' {
		w.I++
		return true
	}
	for {
		if !w.value(at, name, depth) {
			return false
		}
		switch w.Peek() {
		case ',':
			w.I++
		case ']':
			w.I++
			return true
		default:
			return false
		}
	}
}

func (w *walker) object(at place, depth int) bool {
	if depth > grammar.MaxDepth {
		return false
	}
	outer := w.mime
	defer func() { w.mime = outer }()
	if at == block || at == contents {
		kind := w.peekMembers()
		if at == block && (kind == "image" || kind == "audio") {
			at = picture
		}
	}
	w.I++
	if w.Peek() == '}' {
		w.I++
		return true
	}
	for {
		name, ok := w.name(at)
		if !ok || !w.Colon() || !w.member(at, name, depth) {
			return false
		}
		switch w.Peek() {
		case ',':
			w.I++
		case '}':
			w.I++
			return true
		default:
			return false
		}
	}
}

// member walks the value of a member: a string as what the object says of it, all else as what is inside.
func (w *walker) member(at place, name string, depth int) bool {
	if w.Peek() == '"' {
		return w.text(at, name)
	}
	into := at.inside(name)
	if at == message && name == "params" {
		into = w.params
	}
	return w.value(into, name, depth)
}

// name walks the name of a member, and takes out what matches of one that the protocol does not give. What is left is told apart by a
// number: two names that matched may not become one.
func (w *walker) name(at place) (string, bool) {
	if w.Peek() != '"' {
		return "", false
	}
	from := w.I
	if _, ok := w.Str(); !ok {
		return "", false
	}
	name, _ := wire.DecodeString(w.Text[from:w.I])
	if at.named(name) {
		return name, true
	}
	if out, changed := w.r.clean([]byte(name), mark); changed {
		w.named++
		w.edits.Replace(wire.Span{Start: from, End: w.I}, wire.Quote(string(out)+" "+strconv.Itoa(w.named)))
	}
	return name, true
}

// text walks a string.
func (w *walker) text(at place, name string) bool {
	from := w.I
	escaped, ok := w.Str()
	if !ok {
		return false
	}
	raw := w.Text[from:w.I]
	text := raw[1 : len(raw)-1]
	if escaped {
		text = wire.AppendDecoded(make([]byte, 0, len(raw)), raw)
	}
	var out []byte
	changed := false
	switch {
	case at == picture && name == "data", at == contents && name == "blob":
		out, changed = w.data(text)
	case (at == block || at == contents) && name == "uri":
		if out, changed = w.r.clean(text, uriMark); changed && !hasScheme.Match(out) {
			out = append([]byte("redacted:"), out...)
		}
	default:
		out, changed = w.r.clean(text, mark)
	}
	if changed && !at.keeps(name, string(text)) {
		w.edits.Replace(wire.Span{Start: from, End: w.I}, wire.Quote(string(out)))
	}
	return true
}

// data cleans what is encoded in base64, where it is text. What is not in base64 is text itself.
func (w *walker) data(text []byte) (out []byte, changed bool) {
	plain := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(plain, text)
	if err != nil {
		return w.r.clean(text, mark)
	}
	if plain = plain[:n]; !utf8.Valid(plain) && !isText(w.mime) {
		return text, false
	}
	if out, changed = w.r.clean(plain, mark); !changed {
		return text, false
	}
	return base64.StdEncoding.AppendEncode(nil, out), true
}

// isText reports whether a media type is one of texts.
func isText(mime string) bool {
	mime = strings.ToLower(mime)
	if strings.HasPrefix(mime, "text/") {
		return true
	}
	for _, word := range [...]string{"json", "xml", "yaml", "javascript", "csv", "html"} {
		if strings.Contains(mime, word) {
			return true
		}
	}
	return false
}

// peekMembers notes the media type of the object at the scanner and returns its type, which may stand behind what they are about. A
// name that stands twice says nothing.
func (w *walker) peekMembers() (kind string) {
	ahead := w.Scanner
	w.mime = ""
	seen := 0
	for ahead.I++; ahead.Peek() == '"'; {
		from := ahead.I
		if _, ok := ahead.Str(); !ok {
			return ""
		}
		name := ahead.Text[from:ahead.I]
		if !ahead.Colon() {
			return ""
		}
		ahead.Peek()
		from = ahead.I
		if !ahead.Value(0) {
			return ""
		}
		switch {
		case wire.EqualString(name, "type"):
			kind, _ = wire.DecodeString(ahead.Text[from:ahead.I])
			seen++
		case wire.EqualString(name, "mimeType"):
			w.mime, _ = wire.DecodeString(ahead.Text[from:ahead.I])
		}
		if ahead.Peek() == ',' {
			ahead.I++
			ahead.Peek()
		}
	}
	if seen > 1 {
		return ""
	}
	return kind
}
