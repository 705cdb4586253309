// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration whose JSON form is that of google.protobuf.Duration: decimal seconds with the suffix s
// and 0, 3, 6 or 9 fractional digits, for example "60s" or "0.500s".
type Duration time.Duration

// MarshalJSON writes the protojson form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the protojson form: any number of fractional digits up to nine.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	v, err := time.ParseDuration(s)
	if err != nil || !strings.HasSuffix(s, "s") || strings.ContainsAny(s, "hmnuµ") {
		return fmt.Errorf("read duration: %q is not decimal seconds such as \"60s\"", s)
	}
	*d = Duration(v)
	return nil
}

// String is the protojson form.
func (d Duration) String() string {
	v, sign := time.Duration(d), ""
	if v < 0 {
		v, sign = -v, "-"
	}
	out := fmt.Sprintf("%s%d.%09d", sign, v/time.Second, v%time.Second)
	out = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(out, "000"), "000"), ".000")
	return out + "s"
}
