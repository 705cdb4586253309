// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Explanation writes what would become of a call: the verdict, who calls what, and each step.
func Explanation(w io.Writer, e *resourcev1.Explanation) error {
	head := strings.TrimPrefix(e.GetVerdict().String(), "VERDICT_")
	if e.GetReason() != "" {
		head += " " + e.GetReason()
	}
	if e.GetSentence() != "" { // also of what holds a call, which has no reason
		head += " (" + e.GetDecidedBy() + "): " + e.GetSentence()
	}
	lines := []string{Safe(head)}
	if c := e.GetCaller(); c != nil {
		lines = append(lines, "Caller: "+Safe(callerText(c)))
	}
	if e.GetTool() != "" {
		lines = append(lines, "Tool: "+Safe(e.GetTool()+", at the gateway "+e.GetExposedName()))
	}
	if len(e.GetCloseMatches()) > 0 {
		lines = append(lines, "Did you mean: "+Safe(strings.Join(e.GetCloseMatches(), ", ")))
	}
	by := fmt.Sprintf("Revision: %d", e.GetRevision())
	if e.GetNode() != "" {
		by += ", node " + e.GetNode()
		if e.GetRegion() != "" {
			by += " in " + e.GetRegion()
		}
	}
	lines = append(lines, Safe(by))
	if e.GetAbridged() {
		lines = append(lines, "This is what the call itself would tell you; administrators see more.")
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n\n"); err != nil {
		return err
	}
	var rows [][]string
	for _, s := range e.GetSteps() {
		rows = append(rows, stepRows(s)...)
	}
	return Table(w, []string{"STEP", "OUTCOME", "DETAIL"}, rows)
}

func callerText(c *resourcev1.ExplainedCaller) string {
	text := c.GetKind()
	if c.GetName() != "" {
		text += " " + c.GetName()
	}
	if len(c.GetTeams()) > 0 {
		text += ", teams " + strings.Join(c.GetTeams(), " ")
	}
	if c.GetBearerToken() != "" {
		text += ", token " + c.GetBearerToken()
	} else if c.GetAuthMethod() != "" {
		text += ", " + c.GetAuthMethod()
	}
	if c.GetClientId() != "" {
		text += " with " + c.GetClientId()
	}
	if len(c.GetScopes()) > 0 {
		text += ", scopes " + strings.Join(c.GetScopes(), " ")
	}
	return text
}

func stepRows(s *resourcev1.ExplainedStep) [][]string {
	detail := s.GetSentence()
	if s.GetReason() != "" {
		detail = s.GetReason() + ": " + detail
	}
	if c := s.GetCredential(); c != nil {
		detail = strings.TrimPrefix(strings.Join([]string{detail, credentialText(c)}, " "), " ")
	}
	rows := [][]string{{s.GetStep(), outcome(s.GetOutcome()), detail}}
	for _, r := range s.GetRules() {
		name := r.GetPolicy()
		if name == "" {
			name = "default_action"
		}
		rows = append(rows, []string{"  " + name, ruleOutcome(r), ruleText(r)})
	}
	for _, l := range s.GetLimits() {
		text := fmt.Sprintf("%d in %s, %d at once", l.GetLimit(), l.GetPeriod().AsDuration(), max(l.GetBurst(), 1))
		if l.Left != nil {
			text += fmt.Sprintf("; %d left", l.GetLeft())
		}
		per := strings.ToLower(l.GetPer())
		if l.GetTeam() != "" {
			per += " " + l.GetTeam()
		}
		rows = append(rows, []string{"  per " + per, outcome(l.GetOutcome()), text})
	}
	return rows
}

func credentialText(c *resourcev1.ExplainedCredential) string {
	text := "Server " + c.GetServer()
	if c.GetConnection() != "" {
		text += ", connection " + c.GetConnection()
	}
	if c.GetOwner() != "" {
		text += " of " + c.GetOwner()
	}
	if c.GetPinned() {
		text += ", pinned"
	} else {
		text += ", chosen for the caller"
	}
	if c.GetAsCaller() {
		text += ", as the caller"
	}
	return text + "; credential: " + c.GetState() + "."
}

func outcome(o resourcev1.StepOutcome) string {
	switch o {
	case resourcev1.StepOutcome_STEP_OUTCOME_OK:
		return "ok"
	case resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN:
		return "unknown"
	case resourcev1.StepOutcome_STEP_OUTCOME_UNSPECIFIED, resourcev1.StepOutcome_STEP_OUTCOME_REFUSED, resourcev1.StepOutcome_STEP_OUTCOME_WOULD_HOLD:
	}
	return strings.TrimPrefix(o.String(), "STEP_OUTCOME_")
}

func ruleOutcome(r *resourcev1.RuleTrace) string {
	switch {
	case r.GetDecided():
		return r.GetAction()
	case r.GetMatched():
		return "matches"
	default:
		return "-"
	}
}

func ruleText(r *resourcev1.RuleTrace) string {
	var text []string
	switch {
	case r.GetDecided():
		text = append(text, "decides")
	case !r.GetCovers():
		text = append(text, r.GetAction()+" of other tools")
	case !r.GetEvaluated():
		text = append(text, r.GetAction()+" of no more weight: a stricter policy decides")
	default:
		text = append(text, r.GetAction())
	}
	if r.GetShadow() {
		text = append(text, "only counted (SHADOW)")
	}
	if r.GetError() != "" {
		text = append(text, "could not be evaluated: "+r.GetError())
	}
	return strings.Join(text, "; ")
}
