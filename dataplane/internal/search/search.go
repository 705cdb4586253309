// SPDX-License-Identifier: Apache-2.0

package search

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// maxServers is how many servers a hint names.
const maxServers = 10

// Config is what a Search may be given.
type Config struct {
	// Lexicon is the words that mean the same in the domain of tools; nil for the one that comes with kit/rank.
	Lexicon *rank.Lexicon
	// Vectors re-rank what words find; nil for words alone.
	Vectors *embed.Vectors
	// Built is told that an index was made, and of how many tools; nil for nobody.
	Built func(tools int)
}

// Search finds tools of gateways, and opens run_tool. It is safe for concurrent use.
type Search struct {
	Config
	indexes once[*view.Tool, *index] // by where the tools of a gateway begin
}

// New returns a Search. It has no index yet. It fails only if the lexicon of kit/rank is broken.
func New(c Config) (*Search, error) {
	if c.Lexicon == nil {
		standard, err := rank.Standard()
		if err != nil {
			return nil, fmt.Errorf("open search: %w", err)
		}
		c.Lexicon = standard
	}
	return &Search{Config: c}, nil
}

// Check returns the fault of [Search.Find] for the arguments, and searches nothing.
func (s *Search) Check(arguments []byte) error {
	_, err := readQuery(arguments)
	return err
}

// Find answers search_tools (G-20 to G-22) with a raw result. arguments is the raw object, nil if the client sent none;
// unavailable says why a tool cannot be run by the caller as things are, empty if it can. It takes no time to speak of but for the vector
// of the query, where there is an endpoint for it. The fault is Invalid (-32602) for arguments that search_tools does not have.
func (s *Search) Find(ctx context.Context, c *call.Caller, arguments []byte, unavailable func(*view.Tool) string) ([]byte, error) {
	q, err := readQuery(arguments)
	if err != nil {
		return nil, err
	}
	f := s.seen(c)
	a := answer{schema: q.schema, unavailable: unavailable, version: c.Version}
	if f.index != nil {
		a.total = f.count(q.server)
		o := rank.Options{Limit: q.limit, Keep: f.keep(q.server)}
		if s.Vectors != nil && a.total > 0 {
			o.Near = s.Vectors.Near(ctx, f.index.meanings, o.Keep, q.text)
		}
		found := f.index.ranks.Search(q.text, o)
		a.matches, a.guessed = found.Matches, len(found.Hits) > 0
		for _, h := range found.Hits {
			a.tools = append(a.tools, hit{c.Gateway.Tools[h.Doc], h.Low})
			a.guessed = a.guessed && h.Guess
		}
		a.unmatched = found.Unmatched
	}
	a.hint = s.hint(f, &q, &a)
	return a.result(), nil
}

// seen are the tools of a gateway that one caller sees.
type seen struct {
	c     *call.Caller
	index *index // nil for a gateway without tools
	taken []bool // by document: a denial takes it away; nil without denials
}

func (s *Search) seen(c *call.Caller) seen {
	if len(c.Gateway.Tools) == 0 {
		return seen{c: c}
	}
	return seen{c, s.indexOf(c.Gateway), c.Snapshot.Taken(c.Gateway)}
}

// shows reports whether the caller sees the i-th tool: one that was not taken away (RS-21), that is for models, and that tools/list
// would not leave out for this client (M-64).
func (f *seen) shows(i int) bool {
	if f.taken != nil && f.taken[i] {
		return false
	}
	about := f.index.about[i]
	return !about.appOnly && (!about.badHeaders || !f.throughHeaders(f.c.Gateway.Tools[i]))
}

// throughHeaders reports whether arguments of a call that are marked for headers would have to go through them, on either side.
func (f *seen) throughHeaders(t *view.Tool) bool {
	if f.c.Version.Era() == wire.Modern {
		return true
	}
	server := f.c.Snapshot.Server(t.Server)
	return server != nil && server.Command == "" && wire.Version(server.Protocol).Era() == wire.Modern
}

// keep is what rank asks of each tool: whether it is one of the server's, or of any for an empty name, that the caller sees. nil
// keeps all.
func (f *seen) keep(server string) func(i int) bool {
	if server == "" && f.all() {
		return nil
	}
	return func(i int) bool { return (server == "" || f.c.Gateway.Tools[i].Server == server) && f.shows(i) }
}

// all reports whether the caller sees all tools of the gateway.
func (f *seen) all() bool { return f.index.plain && f.taken == nil }

// count returns how many tools of a server the caller sees, of all for an empty one.
func (f *seen) count(server string) (n int) {
	if server == "" && f.all() {
		return len(f.c.Gateway.Tools)
	}
	keep := f.keep(server)
	for i := range f.c.Gateway.Tools {
		if keep(i) {
			n++
		}
	}
	return n
}

// servers returns the names of the servers whose tools the caller sees, sorted, and how many there are.
func (f *seen) servers() (first []string, all int) {
	found := make(map[string]struct{})
	if f.index != nil {
		for i, t := range f.c.Gateway.Tools {
			if _, known := found[t.Server]; !known && f.shows(i) {
				found[t.Server] = struct{}{}
				first = append(first, t.Server)
			}
		}
	}
	slices.Sort(first)
	return first[:min(len(first), maxServers)], len(first)
}

// hint says what to do where the result alone does not: nothing was found, or not all of it is there (G-22).
func (s *Search) hint(f seen, q *query, a *answer) string {
	switch {
	case a.total == 0 && q.server != "":
		return fmt.Sprintf("There is no server %s here with tools for you.%s", wire.Quote(clip(q.server)), f.serverHint())
	case a.total == 0:
		return "There are no tools here for you."
	case len(a.tools) == 0:
		return "No tool matches." + a.missing() + f.serverHint()
	case a.guessed:
		return "No tool matches by its words; these may be near in meaning." + a.missing() + f.serverHint()
	case a.matches > len(a.tools):
		return fmt.Sprintf("%d more tools match: say more closely what you want to do, name a server, or set limit (at most %d).", a.matches-len(a.tools), maxLimit)
	}
	return ""
}

// missing names the words of the query that no tool has.
func (a *answer) missing() string {
	if len(a.unmatched) == 0 {
		return ""
	}
	quoted := make([]string, len(a.unmatched))
	for i, term := range a.unmatched {
		quoted[i] = string(wire.Quote(term))
	}
	return " No tool has these words: " + strings.Join(quoted, ", ") + "."
}

func (f *seen) serverHint() string {
	names, all := f.servers()
	if all == 0 {
		return ""
	}
	text := " Servers: " + strings.Join(names, ", ")
	if all > len(names) {
		text += fmt.Sprintf(" and %d more", all-len(names))
	}
	return text + "."
}

// hit is one tool that was found.
type hit struct {
	tool *view.Tool
	low  bool
}

// answer is the result of search_tools.
type answer struct {
	total, matches int
	tools          []hit
	guessed        bool // none of the tools was found by a word
	unmatched      []string
	hint           string
	schema         bool
	unavailable    func(*view.Tool) string
	version        wire.Version
}

// result writes the answer: the same JSON as text and, for clients that know it, as structuredContent.
func (a *answer) result() []byte {
	b := append([]byte(nil), `{"total":`...)
	b = strconv.AppendInt(b, int64(a.total), 10)
	b = strconv.AppendInt(append(b, `,"match_count":`...), int64(a.matches), 10)
	b = strconv.AppendBool(append(b, `,"truncated":`...), a.matches > len(a.tools))
	b = wire.AppendString(append(b, `,"hint":`...), a.hint)
	b = append(b, `,"tools":[`...)
	for i, h := range a.tools {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.appendTool(b, h)
	}
	return both(a.version, append(b, `]}`...), false)
}

func (a *answer) appendTool(b []byte, h hit) []byte {
	body := h.tool.Body.Bytes()
	b = wire.AppendString(append(b, `{"name":`...), h.tool.Exposed)
	b = wire.AppendString(append(b, `,"description":`...), description(h.tool, body))
	b = wire.AppendString(append(b, `,"server":`...), h.tool.Server)
	schema := wire.Get(body, "inputSchema")
	switch {
	case a.schema && wire.IsObject(schema):
		b = wire.AppendOneLine(append(b, `,"inputSchema":`...), schema)
	case a.schema:
		b = append(b, `,"inputSchema":{"type":"object"}`...)
	default:
		b = wire.AppendString(append(b, `,"signature":`...), signature(schema))
	}
	why := a.unavailable(h.tool)
	b = strconv.AppendBool(append(b, `,"available":`...), why == "")
	if why != "" {
		b = wire.AppendString(append(b, `,"unavailable_reason":`...), why)
	}
	return append(strconv.AppendBool(append(b, `,"low_confidence":`...), h.low), '}')
}

// both makes a result of a raw object: as text, and as structuredContent where the version has it.
func both(v wire.Version, object []byte, isError bool) []byte {
	return withText(v, string(object), object, isError)
}

// withText makes a result of a text and a raw object that says the same.
func withText(v wire.Version, text string, object []byte, isError bool) []byte {
	b := append([]byte(nil), `{"content":[{"type":"text","text":`...)
	b = append(wire.AppendString(b, text), `}]`...)
	if v.AtLeast(wire.V20250618) {
		b = append(append(b, `,"structuredContent":`...), object...)
	}
	if isError {
		b = append(b, `,"isError":true`...)
	}
	return append(b, '}')
}
