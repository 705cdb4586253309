// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestTwoAuthorizations: which of two headers is meant cannot be told.
func TestTwoAuthorizations(t *testing.T) {
	k := newKit(t)
	r := httptest.NewRequestWithContext(k.ctx, http.MethodPost, "/", nil)
	r.Header.Add("Authorization", basic("backend", "psc_new"))
	r.Header.Add("Authorization", basic("desktop", "x"))
	_, err := k.Authenticate(k.ctx, r, url.Values{})
	answer(t, err, http.StatusBadRequest, oauthfault.InvalidRequest)
}

// TestPortsShareABudget: a host is not asked more often for having many ports (CIMD-8).
func TestPortsShareABudget(t *testing.T) {
	k := newKit(t)
	refusedAfter := 0
	for port := 20000; port < 20040; port++ {
		_, err := k.Client(k.ctx, "https://client.example:"+strconv.Itoa(port)+"/c.json")
		if fault.From(err).Reason == clients.ReasonFetchBudget {
			break
		}
		refusedAfter++
	}
	if refusedAfter != 30 {
		t.Errorf("%d ports of one host were asked, want 30", refusedAfter)
	}
}
