// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRegistrationLimits: REG-9 and REG-2 through the whole front: the 21st registration of a minute is too many, and not an
// earlier one; a long body is refused in the words of RFC 7591.
func TestRegistrationLimits(t *testing.T) {
	c := newHouse(t).config(t)
	c.PublicListener = listener(t)
	start(t, c)
	url := "http://" + c.PublicListener.Addr().String() + "/api/auth/oauth2/register"
	for i := range 21 {
		body := `{"redirect_uris":["https://client.example/cb"]}`
		if i == 0 {
			body = `{"x":"` + strings.Repeat("x", 65<<10) + `"}`
		}
		r := request(t, http.MethodPost, url, body)
		r.Header.Set("Content-Type", "application/json")
		a := send(t, http.DefaultTransport, r)
		want := http.StatusCreated
		switch i {
		case 0:
			want = http.StatusRequestEntityTooLarge
			if !strings.Contains(a.body, `"invalid_client_metadata"`) {
				t.Errorf("a long registration is answered with %s", a.body)
			}
		case 20:
			want = http.StatusTooManyRequests
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		if a.status != want {
			t.Errorf("registration %d: %d %s", i+1, a.status, a.body)
		}
	}
}

// TestLongForms: a body of a token request that is too long is 413, however it is sent.
func TestLongForms(t *testing.T) {
	c := newHouse(t).config(t)
	c.PublicListener = listener(t)
	start(t, c)
	url := "http://" + c.PublicListener.Addr().String() + "/api/auth/oauth2/token"
	for _, size := range []int{65 << 10, 127 << 10, 200 << 10, 600 << 10} {
		for _, chunked := range []bool{false, true} {
			r := request(t, http.MethodPost, url, "client_id=c1&x="+strings.Repeat("x", size))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if chunked {
				r.ContentLength = -1
			}
			if a := send(t, http.DefaultTransport, r); a.status != http.StatusRequestEntityTooLarge || !strings.Contains(a.body, `"invalid_request"`) {
				t.Errorf("%d bytes, chunked %v: %d %s", size, chunked, a.status, a.body)
			}
		}
	}
}
