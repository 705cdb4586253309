// SPDX-License-Identifier: Apache-2.0

package confirm

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Rounds is how often one call asks the person about the same thing.
const Rounds = 3

// Method is the request that a question is, in both eras.
const Method = "elicitation/create"

// key is the one question's among inputRequests.
const key = "approval"

// maxShown is how many characters of the arguments a question shows.
const maxShown = 2000

// Answer is what the person said.
type Answer uint8

// The answers.
const (
	Nothing Answer = iota // no answer came, or none of that form
	Yes
	No
)

// Shown reports whether a client can be asked: by its version, and by the raw ClientCapabilities object that it declared. One that names
// no mode means forms.
func Shown(v wire.Version, capabilities []byte) bool {
	elicitation := wire.Get(capabilities, "elicitation")
	return v.AtLeast(wire.V20250618) && wire.IsObject(elicitation) &&
		(wire.IsObject(wire.Get(elicitation, "form")) || !wire.IsObject(wire.Get(elicitation, "url")))
}

// Params are the params of a question: a form without fields.
func Params(message string) []byte {
	b := wire.AppendString([]byte(`{"message":`), message)
	return append(b, `,"requestedSchema":{"type":"object","properties":{}}}`...)
}

// Asked returns the result that puts a question to a modern client. state is raw JSON.
func Asked(message string, state []byte) []byte {
	b := append([]byte(`{"resultType":"input_required","inputRequests":{"`+key+`":{"method":"`+Method+`","params":`), Params(message)...)
	b = append(append(b, `}},"requestState":`...), state...)
	return append(b, '}')
}

// AnswerOf reads the raw result of a question.
func AnswerOf(raw []byte) Answer {
	action := wire.Get(raw, "action")
	switch {
	case wire.EqualString(action, "accept"):
		return Yes
	case wire.IsString(action):
		return No
	}
	return Nothing
}

// AnswerIn reads the answer among the raw inputResponses of a modern client's retry.
func AnswerIn(responses []byte) Answer { return AnswerOf(wire.Get(responses, key)) }

// Arguments returns the arguments of a call, a raw object or nil, as a person can read them: what cannot be seen is escaped, and what is
// too long is cut, which the text then says.
func Arguments(raw []byte) string {
	if raw == nil {
		return "{}"
	}
	var b strings.Builder
	shown := 0
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if shown == maxShown {
			return b.String() + " … (cut: the arguments are " + strconv.Itoa(len(raw)) + " bytes long)"
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ') // between tokens: in strings they are escaped
		case r == utf8.RuneError && size == 1, r != ' ' && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%X}`, r)
		default:
			b.WriteRune(r)
		}
		i, shown = i+size, shown+1
	}
	return b.String()
}

// Words returns a text of others, such as a name, in one line of characters that can be seen.
func Words(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
