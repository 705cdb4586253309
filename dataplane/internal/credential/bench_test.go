// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
)

// direct hands requests to a handler, as the node's and the authserver's processes do that are one.
type direct struct{ http.Handler }

// RoundTrip implements [http.RoundTripper].
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// A hit lies on the path of every call with a credential.
func BenchmarkHit(b *testing.B) {
	c := newClient(b, &authserver{life: 15 * time.Minute, value: canary}, new(bytes.Buffer), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Resolve(b.Context(), wanted("c1", "v_1", user("ada"))); err != nil {
			b.Fatal(err)
		}
	}
}

// A miss is the first call of a principal. The authserver answers at once and without a network: what is left is the node's own part, with
// the protocol between the two.
func BenchmarkMiss(b *testing.B) {
	_, handler := credentialv1connect.NewCredentialServiceHandler(&authserver{life: 15 * time.Minute, value: canary})
	c := newClient(b, direct{handler}, new(bytes.Buffer), 64)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := c.Resolve(b.Context(), wanted("c1", "v_1", user(strconv.Itoa(n)))); err != nil {
			b.Fatal(err)
		}
	}
}
