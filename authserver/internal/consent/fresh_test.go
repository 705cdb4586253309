// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/pages"
)

// TestFormAsksForTheFreshLogin: what prompt=login asks for holds for the form too. Whoever sits at somebody else's browser can
// read its cookies and make every token of a form, but not prove to be that person.
func TestFormAsksForTheFreshLogin(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	w.Wait(time.Second)
	secret := b.Ask(authorizetest.Params("acme", callback, "prompt", "login")).Request()
	if to, _ := b.Do(consent.Path+"?request="+secret, nil).Location(); to != "/login" {
		t.Fatalf("an old login is asked to decide: %q", to)
	}
	login := sha256.Sum256([]byte(b.Cookies["__Host-penstock-login"]))
	a := b.Do(consent.Path, url.Values{
		"request": {secret}, "decision": {"deny"},
		"csrf": {pages.CSRF(b.Cookies["__Host-penstock-request"], secret, "consent", hex.EncodeToString(login[:]))},
	})
	if a.Status != http.StatusForbidden || len(w.Events("consent.denied")) != 0 {
		t.Errorf("an old login decides: %d %v", a.Status, a.Header)
	}
}
