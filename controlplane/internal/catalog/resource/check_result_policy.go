// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"

	"github.com/penstockhq/penstock/sdk/kit/compile/pattern"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	maxPatterns = 32
	maxPattern  = 1024
)

func (p *Problems) resultPolicy(o *ResultPolicy) {
	p.text("display_name", o.DisplayName, 128)
	p.selectors(o.Tools, o.Servers, o.Gateways, o.GatewayLabels)
	p.reason(o.Reason)
	if o.Mark == "" {
		p.field("mark", "it is not set; say what a result counts as: TRUSTED, UNTRUSTED, REDACT or BLOCK")
	} else {
		p.oneOf("mark", string(o.Mark), string(MarkTrusted), string(MarkUntrusted), string(MarkRedact), string(MarkBlock))
	}
	p.oneOf("mode", string(o.Mode), string(PolicyEnforce), string(PolicyShadow))
	p.condition(o.When)
	switch {
	case o.Mark == MarkRedact && len(o.Redact) == 0:
		p.field("redact", "it is empty; say what REDACT takes out, in regular expressions")
	case o.Mark != MarkRedact && len(o.Redact) > 0:
		p.field("redact", "it has no meaning without mark REDACT; remove it")
	}
	p.count("redact", len(o.Redact), maxPatterns)
	p.unique("redact", o.Redact)
	for i, text := range o.Redact {
		path := fmt.Sprintf("redact[%d]", i)
		if len(text) > maxPattern {
			p.field(path, "it has more than 1,024 bytes")
			continue
		}
		if _, err := pattern.Compile(text); err != nil {
			f := fault.From(err)
			p.AddKind(f.Kind, f.Reason, path, "%s", f.Public)
		}
	}
}
