// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// UP-8: a token that the server refused is made anew, for all whom it was refused together, and not again within a minute.
func TestRefusedByServer(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	first := w.want("ada", false)
	if w.want("ada", true) != first {
		t.Error("a token that was made just now is made anew")
	}
	w.pass(61 * time.Second)
	next := w.want("ada", true)
	if next == first || w.want("ada", true) != next || w.want("ada", false) != next {
		t.Error("a refused token is not made anew once")
	}
	if n := len(w.idp.exchanges()); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

// JAU-7: many calls at once make one exchange, and one of them that goes away does not take it from the others.
func TestSingleFlight(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.idp.set(func(p *provider) {
		p.answer = func(_ http.ResponseWriter, form url.Values) bool {
			if form.Has("subject_token") {
				once.Do(func() { close(asked) })
				<-release
			}
			return false
		}
	})
	server := w.view.Load().Server("crm")
	gone, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, _, err := w.x.Resolve(gone, server, "uid-ada", "", "", false)
		left <- err
	}()
	<-asked
	var all sync.WaitGroup
	headers := make(chan obs.Secret, 20)
	for range 20 {
		all.Go(func() {
			s, _, err := w.x.Resolve(t.Context(), server, "uid-ada", "", "", false)
			if err != nil {
				t.Error(err)
			}
			headers <- s.Headers["Authorization"]
		})
	}
	leave()
	if err := <-left; fault.KindOf(err) != fault.Canceled {
		t.Errorf("who went away gets %v", err)
	}
	close(release)
	all.Wait()
	close(headers)
	first := <-headers
	for h := range headers {
		if h != first {
			t.Error("they get different tokens")
		}
	}
	if n := len(w.idp.exchanges()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// JAU-7: nothing that was made for somebody outlives the purge, also not what is being made meanwhile.
func TestForget(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	w.signIn("bob")
	ada, bob := w.want("ada", false), w.want("bob", false)
	w.x.Forget("uid-ada")
	if w.want("bob", false) != bob {
		t.Error("Bob was forgotten too")
	}
	if w.want("ada", false) == ada {
		t.Error("Ada was not forgotten")
	}
	w.x.Forget("uid-ada")
	w.idp.set(func(p *provider) {
		p.answer = func(_ http.ResponseWriter, form url.Values) bool {
			if form.Has("subject_token") {
				w.x.Forget("uid-ada") // in the middle
			}
			return false
		}
	})
	_, _, err := w.resolve("ada", false)
	w.refusedWith(err, fault.Denied, exchange.ReasonUser, "The user's credentials were ended meanwhile.")
	w.idp.set(func(p *provider) { p.answer = nil })
	w.want("ada", false) // still a user
	w.gone = []string{"ada"}
	w.publish()
	_, _, err = w.resolve("ada", false)
	w.refusedWith(err, fault.Denied, exchange.ReasonUser, "The user is not there or is deactivated.")
}

// A change of how the credential is made, which is another version, makes it anew; the old one is not given out for it.
func TestChanged(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	first := w.want("ada", false)
	w.server.Made = "m2"
	w.publish()
	if w.want("ada", false) == first {
		t.Error("the token of another version is given out")
	}
}

// Before the directory is there, nobody gets anything.
func TestNoDirectory(t *testing.T) {
	w := newWorld(t)
	server := w.view.Load().Server("crm")
	w.view.Store(nil)
	_, _, err := w.x.Resolve(t.Context(), server, "uid-ada", "", "", false)
	w.refusedWith(err, fault.Unavailable, exchange.ReasonNoDirectory, "The directory is not there yet.")
	if _, err := exchange.New(exchange.Config{}); err == nil {
		t.Error("an exchanger without its parts")
	}
}
