// SPDX-License-Identifier: Apache-2.0

package obs_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Auth design SE-4.
func TestSecretIsRedactedInEveryFormat(t *testing.T) {
	const canary = "hunter2"
	s := obs.Secret(canary)
	type holder struct {
		S obs.Secret
		P *obs.Secret
		M map[string]obs.Secret
		L []obs.Secret
	}
	h := holder{S: s, P: &s, M: map[string]obs.Secret{"a": s}, L: []obs.Secret{s}}

	encode := func(b []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type element struct {
		S obs.Secret `xml:"s,attr"`
		T obs.Secret
	}
	outputs := map[string]string{
		"json": encode(json.Marshal(h)),
		"yaml": encode(yaml.Marshal(h)),
		"xml":  encode(xml.Marshal(element{s, s})),
		"go":   s.String() + s.GoString(),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%-8v", "%T"} {
		outputs[verb] = fmt.Sprintf(verb, s)
		outputs[verb+" in a struct"] = fmt.Sprintf(verb, h)
	}
	outputs["error"] = fmt.Errorf("use %v: %w", s, fmt.Errorf("inner %s", s)).Error()
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).With("with", s).Info("message", "secret", s, "holder", h, slog.Group("g", "secret", s))
	}
	outputs["slog"] = log.String()

	for name, out := range outputs {
		if strings.Contains(strings.ToLower(out), canary) || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", canary)) {
			t.Errorf("%s prints the secret: %s", name, out)
		}
		if !strings.Contains(out, obs.Redacted) && !strings.HasPrefix(name, "%T") {
			t.Errorf("%s prints %q, want %s in it", name, out, obs.Redacted)
		}
	}
	if s.Reveal() != canary {
		t.Error("Reveal does not reveal")
	}
	if got := fmt.Sprint(obs.Secret("")); got != obs.Redacted {
		t.Errorf("an empty secret prints %q, which tells that it is empty", got)
	}
}

func TestSecretIsReadAsText(t *testing.T) {
	var got struct{ S obs.Secret }
	if err := json.Unmarshal([]byte(`{"S":"hunter2"}`), &got); err != nil || got.S.Reveal() != "hunter2" {
		t.Errorf("json: %v", err)
	}
	if err := yaml.Unmarshal([]byte("s: hunter3"), &got); err != nil || got.S.Reveal() != "hunter3" {
		t.Errorf("yaml: %v", err)
	}
}
