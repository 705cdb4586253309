// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestSigning: the commands on signing keys work beside a server on the same store, and need no certificate.
func TestSigning(t *testing.T) {
	h := newHouse(t)
	seed(t, h)
	start(t, h.config(t))
	command := func(s authserver.SigningSettings) (string, error) {
		c := h.config(t)
		c.ControlPlane.Endpoints, c.DialControlPlane = nil, nil
		c.Signing = s
		var out bytes.Buffer
		err := authserver.Signing(t.Context(), c, &out)
		return out.String(), err
	}
	list := func() map[string]string {
		text, err := command(authserver.SigningSettings{List: true})
		must(t, err)
		states := make(map[string]string)
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) == 3 {
				states[f[1]] = f[0]
			}
		}
		return states
	}
	before := list()
	if before["active"] == "" || before["next"] == "" {
		t.Fatalf("the keys are %v", before)
	}
	if _, err := command(authserver.SigningSettings{Rotate: true}); fault.From(err).Reason != keys.ReasonTooNew {
		t.Errorf("rotating at once: %v", err)
	}
	if _, err := command(authserver.SigningSettings{Revoke: "nobody"}); fault.From(err).Reason != keys.ReasonMissing {
		t.Errorf("revoking a key that is not there: %v", err)
	}
	if _, err := command(authserver.SigningSettings{Revoke: before["active"]}); err != nil {
		t.Errorf("revoking: %v", err)
	}
	if after := list(); after["revoked"] != before["active"] || after["active"] != before["next"] {
		t.Errorf("the keys were %v and are %v", before, after)
	}
	if _, err := command(authserver.SigningSettings{List: true, Rotate: true}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("two things at once: %v", err)
	}
	c := h.config(t)
	c.Signing.List = true
	if err := authserver.Signing(t.Context(), c, broken{}); err == nil {
		t.Error("a list that nobody can read is no error")
	}
}

// broken is an output that takes nothing.
type broken struct{}

// Write implements [io.Writer].
func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
