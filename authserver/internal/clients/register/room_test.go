// SPDX-License-Identifier: Apache-2.0

package register_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/register"
)

// TestFloodLeavesRoom: who fills the place for unused clients keeps nobody out for longer than an hour, and puts nobody out
// who has just registered.
func TestFloodLeavesRoom(t *testing.T) {
	k := newKit(t, func(c *register.Config) { c.MaxUnused = 2 })
	first := k.post(t, uris("https://evil.example/1"))
	k.pass(50 * time.Minute)
	second := k.post(t, uris("https://c.example/2"))
	if a := k.post(t, uris("https://c.example/3")); a.status != http.StatusTooManyRequests {
		t.Errorf("within the hour: %d %s", a.status, a.text)
	}
	k.pass(11 * time.Minute)
	if a := k.post(t, uris("https://c.example/3")); a.status != http.StatusCreated {
		t.Errorf("after the hour: %d %s", a.status, a.text)
	}
	if _, err := k.store.Client(t.Context(), fmt.Sprint(first.body["client_id"])); err == nil {
		t.Error("the oldest kept its place")
	}
	if _, err := k.store.Client(t.Context(), fmt.Sprint(second.body["client_id"])); err != nil {
		t.Errorf("a newer one lost its place: %v", err)
	}
	if n, err := k.store.UnusedClients(t.Context()); n != 2 || err != nil {
		t.Errorf("%d unused clients (%v)", n, err)
	}
}

// TestStoredSize: what strangers can make us store is bounded, as long as the body may be.
func TestStoredSize(t *testing.T) {
	k := newKit(t)
	long := `{"redirect_uris":["https://c.example/cb"],"jwks":{"keys":[],"x":"` + strings.Repeat("x", 20<<10) + `"}}`
	if a := k.post(t, long); a.status != http.StatusBadRequest || a.body["error"] != "invalid_client_metadata" {
		t.Errorf("%d %s", a.status, a.text)
	}
}
