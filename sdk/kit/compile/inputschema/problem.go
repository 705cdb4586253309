// SPDX-License-Identifier: Apache-2.0

package inputschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// leaves collects what is wrong, each with its path in the value.
func leaves(list []Problem, e *jsonschema.ValidationError, root any) []Problem {
	if len(list) >= maxProblems {
		return list
	}
	if len(e.Causes) == 0 {
		for _, text := range say(e) {
			p := Problem{path(root, e.InstanceLocation), text}
			if !slices.Contains(list, p) && len(list) < maxProblems {
				list = append(list, p)
			}
		}
		return list
	}
	for _, cause := range e.Causes {
		list = leaves(list, cause, root)
	}
	return list
}

// say puts a problem into words. What is most often wrong is said in the words of a tool's signature.
func say(e *jsonschema.ValidationError) []string {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		var out []string
		for _, name := range k.Missing {
			out = append(out, "it lacks "+quote(name)+", which is required")
		}
		return out
	case *kind.AdditionalProperties:
		var out []string
		for _, name := range k.Properties {
			out = append(out, "it has "+quote(clip(name))+", which is none of its properties")
		}
		return out
	case *kind.Type:
		return []string{fmt.Sprintf("it is of type %s, and must be %s", k.Got, strings.Join(k.Want, " or "))}
	case *kind.Maximum:
		return []string{"it must be at most " + number(k.Want)}
	case *kind.Minimum:
		return []string{"it must be at least " + number(k.Want)}
	case *kind.ExclusiveMaximum:
		return []string{"it must be less than " + number(k.Want)}
	case *kind.ExclusiveMinimum:
		return []string{"it must be more than " + number(k.Want)}
	case *kind.FalseSchema:
		return []string{"nothing is allowed here"}
	}
	if out := e.BasicOutput(); out.Error != nil {
		return []string{out.Error.String()}
	}
	return []string{"it does not fit"}
}

// number writes a bound in full: one of 64 bits loses digits as a floating-point number.
func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// plain is a name that a path can have after a dot.
var plain = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// path writes where in a value something is: "$" is the value itself.
func path(root any, location []string) string {
	var b strings.Builder
	b.WriteByte('$')
	at := root
	for _, step := range location {
		if items, ok := at.([]any); ok {
			b.WriteString("[" + step + "]")
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(items) {
				at = items[i]
			}
			continue
		}
		if object, ok := at.(map[string]any); ok {
			at = object[step]
		}
		writeName(&b, step)
	}
	return b.String()
}

// writeName writes a step of a path that is a name.
func writeName(b *strings.Builder, name string) {
	if plain.MatchString(name) {
		b.WriteString("." + name)
	} else {
		b.WriteString("[" + Quote(name) + "]")
	}
}

// quote writes a text as a JSON string.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // of a string it does not fail
	return strings.TrimSuffix(b.String(), "\n")
}

// clip shortens a name that a caller chose.
func clip(s string) string {
	const longest = 100
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}
