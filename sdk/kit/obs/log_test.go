// SPDX-License-Identifier: Apache-2.0

package obs_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

func TestLog(t *testing.T) {
	for _, tc := range []struct {
		name, level, format string
		lines               int
		json                bool
	}{
		{"defaults", "", "", 3, true},
		{"debug", "debug", "json", 4, true},
		{"warn", "WARN", "json", 2, true},
		{"error", "error", "json", 1, true},
		{"text", "info", "text", 3, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "svc", LogLevel: tc.level, LogFormat: tc.format, LogWriter: &out})
			if err != nil {
				t.Fatal(err)
			}
			defer flush(t, stop)
			tel.Log.Debug("a")
			tel.Log.Info("b")
			tel.Log.Warn("c")
			tel.Log.Error("d", obs.Fault(fault.New(fault.Denied, "NOT_YOURS", "No.").Because(io.EOF)), obs.Fault(nil))
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != tc.lines {
				t.Fatalf("%d lines, want %d: %s", len(lines), tc.lines, out.String())
			}
			last := lines[len(lines)-1]
			if json.Valid([]byte(last)) != tc.json {
				t.Errorf("format of %s", last)
			}
			if !tc.json {
				return
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(last), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			want := map[string]any{
				"level": "ERROR", "msg": "d", "service": "svc",
				"error": "NOT_YOURS: No.: EOF", "fault_kind": "denied", "fault_reason": "NOT_YOURS",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLogNamesTheTrace(t *testing.T) {
	var out bytes.Buffer
	tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "svc", LogWriter: &out})
	if err != nil {
		t.Fatal(err)
	}
	defer flush(t, stop)
	id, _ := trace.TraceIDFromHex("4bf92f3577b34da6a3ce929d0e0e4736")
	span, _ := trace.SpanIDFromHex("00f067aa0ba902b7")
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span}))
	tel.Log.With("a", 1).InfoContext(ctx, "with attributes")
	tel.Log.WithGroup("g").InfoContext(ctx, "in a group", "b", 2)
	tel.Log.Info("without a trace")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []bool{true, true, false} {
		if got := strings.Contains(lines[i], id.String()) && strings.Contains(lines[i], span.String()); got != want {
			t.Errorf("trace in %s: %t, want %t", lines[i], got, want)
		}
	}
}
