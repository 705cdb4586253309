// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// scalar reads a value of a field that is no message. A string field takes the text as it is written, so that
// `protocol: 2025-11-25` is no date and `name: 123` no number.
func scalar(f protoreflect.FieldDescriptor, n *yaml.Node) (protoreflect.Value, error) {
	none := protoreflect.Value{}
	if n.Kind != yaml.ScalarNode {
		return none, fmt.Errorf("want a single value, got %s", describe(n))
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(n.Value), nil
	case protoreflect.BoolKind:
		var b bool
		if n.Tag != "!!bool" || n.Decode(&b) != nil {
			return none, fmt.Errorf("want true or false, got %q", n.Value)
		}
		return protoreflect.ValueOfBool(b), nil
	case protoreflect.Uint32Kind:
		u, err := number(n, 0, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(u)), err
	case protoreflect.Int32Kind:
		i, err := number(n, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(i)), err
	case protoreflect.EnumKind:
		return enum(f.Enum(), n.Value)
	default:
		return none, fmt.Errorf("a %s cannot be written in a manifest", f.Kind())
	}
}

func number(n *yaml.Node, lowest, highest int64) (int64, error) {
	var i int64
	if n.Tag != "!!int" || n.Decode(&i) != nil || i < lowest || i > highest {
		return 0, fmt.Errorf("want a whole number from %d to %d, got %q", lowest, highest, n.Value)
	}
	return i, nil
}

// enum reads a value by its short name (ALWAYS, always) or its whole one (NAMING_PREFIX_ALWAYS). UNSPECIFIED has no name: the
// field is left out.
func enum(d protoreflect.EnumDescriptor, text string) (protoreflect.Value, error) {
	var known []string
	for i := range d.Values().Len() {
		v := d.Values().Get(i)
		if v.Number() == 0 {
			continue
		}
		short := shortEnum(v)
		if strings.EqualFold(text, short) || text == string(v.Name()) {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
		known = append(known, short)
	}
	return protoreflect.Value{}, fmt.Errorf("unknown value %q%s", text, didYouMean(text, known))
}

// shortEnum returns a value's name without the name of its type: ALWAYS for NAMING_PREFIX_ALWAYS.
func shortEnum(v protoreflect.EnumValueDescriptor) string {
	name := string(v.Name())
	zero := string(v.Parent().(protoreflect.EnumDescriptor).Values().Get(0).Name()) //nolint:forcetypeassert // a value's parent is its enum
	return strings.TrimPrefix(name, strings.TrimSuffix(zero, "UNSPECIFIED"))
}

// days finds whole days, which Go's durations do not have.
var days = regexp.MustCompile(`^(\d{1,6})d(.*)$`)

// Duration reads a time span as manifests and the command line write it: "60s", "1h30m", "500ms", "30d", "1d12h".
func Duration(text string) (time.Duration, error) {
	var whole time.Duration
	rest := text
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 100_000 {
			return 0, fmt.Errorf("%q is too long", text)
		}
		whole, rest = time.Duration(n)*24*time.Hour, m[2]
		if rest == "" {
			return whole, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want a time span with a unit, for example 60s, 5m or 30d, got %q", text)
	}
	if whole > math.MaxInt64-d {
		return 0, errors.New("too long")
	}
	return whole + d, nil
}

func duration(n *yaml.Node) (*durationpb.Duration, error) {
	if n.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("want a time span, got %s", describe(n))
	}
	d, err := Duration(n.Value)
	if err != nil {
		return nil, err
	}
	return durationpb.New(d), nil
}
