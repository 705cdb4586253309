// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/approval/webhook"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const secretText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func secret(t *testing.T) func(context.Context) webhook.Secret {
	t.Helper()
	s, err := webhook.ParseSecret(secretText + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context) webhook.Secret { return s }
}

// signature signs as the text of Standard Webhooks says, with nothing of the product.
func signature(id, timestamp, body string) string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secretText, "whsec_"))
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(id + "." + timestamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// receiver is an outside system.
type receiver struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	status int
	got    []string // type, state, arguments
	ids    []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, status: http.StatusNoContent}
	s := httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(s.Close)
	r.url = s.URL + "/hook"
	return r
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	id := req.Header.Get("webhook-id")
	if err != nil || req.Header.Get("webhook-signature") != signature(id, req.Header.Get("webhook-timestamp"), string(body)) {
		r.t.Errorf("a message with a wrong signature: %v %s", req.Header, body)
	}
	var m struct {
		Type string
		Data struct {
			State     string
			Arguments json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.ids = append(r.got, fmt.Sprintf("%s %s %s", m.Type, m.Data.State, m.Data.Arguments)), append(r.ids, id)
	if r.status == http.StatusFound {
		w.Header().Set("Location", r.url)
	}
	w.WriteHeader(r.status)
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// taken returns what has come since the last time, with the ids.
func (r *receiver) taken() (got, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got, ids = r.got, r.ids
	r.got, r.ids = nil, nil
	return got, ids
}

// sender sends what one control plane has to tell.
func (o *org) sender(url string, arguments bool) *webhook.Sender {
	o.t.Helper()
	s, err := webhook.NewSender(webhook.SenderConfig{
		URL: url, Secret: secret(o.t), Arguments: arguments, Outbox: o.store.Approvals(o.keys), Log: slog.New(slog.DiscardHandler), Now: o.clock.now,
	})
	o.must(err)
	return s
}

// TestWebhookSends: what happens is told once it is taken, in spite of failures, restarts and several senders.
func TestWebhookSends(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		o.store, o.Service = o.replica(true)
		r := newReceiver(t)
		plain, whole := o.sender(r.url, false), o.sender(r.url, true)
		send := func(s *webhook.Sender, want ...string) []string {
			t.Helper()
			o.must(s.Send(t.Context()))
			got, ids := r.taken()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("taken (-want +got):\n%s", diff)
			}
			return ids
		}
		id := o.hold("PENDING")
		o.hold("PENDING") // the same is told once
		send(plain, "approval.created PENDING ")
		send(plain)
		o.decide(id, ada, true, "")
		send(whole, `approval.approved APPROVED {"a":1,"b":2}`)
		o.hold("RUN run")
		send(whole)

		o.hold("PENDING")
		r.answer(http.StatusFound) // to itself: it is not followed
		first := send(whole, `approval.created PENDING {"a":1,"b":2}`)
		send(whole) // not yet again
		o.clock.pass(6 * time.Second)
		r.answer(http.StatusInternalServerError)
		second := send(whole, `approval.created PENDING {"a":1,"b":2}`)
		r.answer(http.StatusOK)
		o.clock.pass(11 * time.Second)
		o.store, o.Service = o.replica(true) // after a restart
		third := send(o.sender(r.url, true), `approval.created PENDING {"a":1,"b":2}`)
		if first[0] != second[0] || second[0] != third[0] || first[0] == "" {
			t.Errorf("the message has the ids %q, %q, %q", first, second, third)
		}
		o.clock.pass(time.Hour)
		o.must(o.ExpireDue(t.Context()))
		send(whole, "approval.expired EXPIRED ")

		denied := o.hold("PENDING", arguments(`{"x":1}`))
		o.decide(denied, ada, false, "")
		var all sync.WaitGroup
		for range 4 {
			s := o.sender(r.url, false)
			all.Go(func() {
				if err := s.Send(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, ids := r.taken(); len(got) != 2 || ids[0] == ids[1] {
			t.Errorf("four senders sent %v", got)
		}

		r.answer(http.StatusServiceUnavailable)
		o.hold("PENDING", arguments(`{"x":2}`))
		tries := 0
		for range 200 {
			o.must(plain.Send(t.Context()))
			got, _ := r.taken()
			tries += len(got)
			o.clock.pass(10 * time.Minute)
		}
		if tries < 10 || tries > 150 {
			t.Errorf("%d attempts in a day", tries)
		}
		r.answer(http.StatusOK)
		send(plain) // given up
	})
}

// TestWebhookAway: a receiver that is not there holds nothing up, and is told later.
func TestWebhookAway(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	o.store, o.Service = o.replica(true)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	o.hold("PENDING")
	o.must(o.sender(gone.URL, false).Send(t.Context()))
	o.clock.pass(6 * time.Second)
	r := newReceiver(t)
	o.must(o.sender(r.url, false).Send(t.Context()))
	if got, _ := r.taken(); len(got) != 1 {
		t.Errorf("taken later: %v", got)
	}
	for _, url := range []string{"", "ftp://x", "http://u:p@x/", "http://169.254.169.254/"} {
		if _, err := webhook.NewSender(webhook.SenderConfig{URL: url}); err == nil {
			t.Errorf("%q is a receiver", url)
		}
	}
}

// hook sends messages to a receiver of the product.
type hook struct {
	*org

	url string
}

func newHook(o *org) *hook {
	o.t.Helper()
	s := httptest.NewServer(&webhook.Receiver{
		Secret: secret(o.t), Decider: o.Service, Answers: o.store.Approvals(o.keys), Log: slog.New(slog.DiscardHandler), Now: o.clock.now,
	})
	o.t.Cleanup(s.Close)
	return &hook{org: o, url: s.URL}
}

// send posts a message, with headers that are changed, and returns status, reason and state.
func (h *hook) send(id, body string, change ...func(*http.Request)) string {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url, strings.NewReader(body))
	h.must(err)
	stamp := strconv.FormatInt(h.clock.now().Unix(), 10)
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", signature(id, stamp, body))
	for _, c := range change {
		c(req)
	}
	res, err := http.DefaultClient.Do(req)
	h.must(err)
	defer func() { _ = res.Body.Close() }()
	var m struct {
		State string
		Error struct{ Reason, Message string }
	}
	h.must(json.NewDecoder(res.Body).Decode(&m))
	if strings.Contains(m.Error.Message, "secret of the webhook") && m.Error.Reason != webhook.ReasonSignature {
		h.t.Errorf("it says %q", m.Error.Message)
	}
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", m.State, m.Error.Reason))
}

func verdict(id, decision, by string) string {
	return fmt.Sprintf(`{"approval":%q,"decision":%q,"by":%q,"reason":"told"}`, id, decision, by)
}

// TestWebhookDecides: decisions come in once, by who may decide; the same message gets the same answer.
func TestWebhookDecides(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		h := newHook(o)
		want := func(name, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		id := o.hold("PENDING")
		want("no approver", h.send("m1", verdict(id, "approve", eve)), "403 NOT_AN_APPROVER")
		want("the caller", h.send("m2", verdict(id, "approve", cyd)), "403 OWN_CALL")
		want("nobody", h.send("m3", verdict(id, "approve", "x@example.com")), "403 NOT_AN_APPROVER")
		want("nothing", h.send("m4", verdict("none", "approve", ada)), "404 APPROVAL_NOT_FOUND")
		want("approve", h.send("m5", verdict(id, "approve", ada)), "200 APPROVED")
		want("the same again", h.send("m5", verdict(id, "approve", ada)), "200 APPROVED")
		want("denied afterwards", h.send("m6", verdict(id, "deny", ada)), "400 APPROVAL_DECIDED")
		o.hold("RUN run")
		want("the same, after it has run", h.send("m5", verdict(id, "approve", ada)), "200 APPROVED")
		want("the same id, another message", h.send("m5", verdict(id, "deny", ada)), "409 WEBHOOK_ID_REUSED")
		_, events, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id)
		o.must(err)
		if len(events) != 3 || events[1].How != approval.HowWebhook || events[1].Actor != ada {
			t.Errorf("events: %+v", events)
		}
		o.update(&catalog.User{Meta: meta(eve), Role: catalog.RoleAdmin}, "role")
		want("a refusal again, though it would be no more", h.send("m1", verdict(id, "approve", eve)), "403 NOT_AN_APPROVER")
		next := o.hold("PENDING")
		var all sync.WaitGroup
		var mu sync.Mutex
		answers := make(map[string]int)
		for range 12 {
			all.Go(func() {
				got := h.send("m7", verdict(next, "deny", root))
				mu.Lock()
				defer mu.Unlock()
				answers[got]++
			})
		}
		all.Wait()
		if diff := cmp.Diff(map[string]int{"200 DENIED": 12}, answers); diff != "" {
			t.Errorf("the same message at the same moment (-want +got):\n%s", diff)
		}
	})
}

// TestWebhookRefuses: whatever is not signed, not just now or no decision is refused, and changes nothing.
func TestWebhookRefuses(t *testing.T) {
	o := newOrg(t, engines()["SQLite"](t))
	h := newHook(o)
	id := o.hold("PENDING")
	good := verdict(id, "approve", ada)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	at := func(d time.Duration) func(*http.Request) {
		return func(r *http.Request) {
			stamp := strconv.FormatInt(o.clock.now().Add(d).Unix(), 10)
			r.Header.Set("webhook-timestamp", stamp)
			r.Header.Set("webhook-signature", signature("m", stamp, good))
		}
	}
	const unsigned, bad = "401 WEBHOOK_SIGNATURE_INVALID", "400 WEBHOOK_MESSAGE_INVALID"
	for _, tc := range []struct {
		name, id, body, want string
		edit                 func(*http.Request)
	}{
		{"GET", "m", good, "405 WEBHOOK_MESSAGE_INVALID", func(r *http.Request) { r.Method = http.MethodGet }},
		{"no id", "", good, unsigned, nil},
		{"an id of 257 bytes", strings.Repeat("m", 257), good, unsigned, nil},
		{"an id with a space", "m m", good, unsigned, nil},
		{"no time", "m", good, unsigned, set("webhook-timestamp", "")},
		{"a time in words", "m", good, unsigned, set("webhook-timestamp", "now")},
		{"another time", "m", good, unsigned, set("webhook-timestamp", strconv.FormatInt(o.clock.now().Unix()+1, 10))},
		{"too old", "m", good, unsigned, at(-5*time.Minute - time.Second)},
		{"too new", "m", good, unsigned, at(5*time.Minute + time.Second)},
		{"no signature", "m", good, unsigned, set("webhook-signature", "")},
		{"another version", "m", good, unsigned, func(r *http.Request) {
			r.Header.Set("webhook-signature", "v1a,"+strings.TrimPrefix(r.Header.Get("webhook-signature"), "v1,"))
		}},
		{"a signature of another message", "m", good, unsigned, func(r *http.Request) {
			r.Header.Set("webhook-signature", signature("n", r.Header.Get("webhook-timestamp"), good))
		}},
		{"no Base64", "m", good, unsigned, set("webhook-signature", "v1,%%%")},
		{"too long", "m", strings.Repeat(" ", 65<<10), "413 WEBHOOK_MESSAGE_INVALID", nil},
		{"nothing", "e1", "", bad, nil},
		{"no JSON", "e2", "approve", bad, nil},
		{"two messages", "e3", good + good, bad, nil},
		{"an unknown field", "e4", strings.Replace(good, "reason", "because", 1), bad, nil},
		{"another decision", "e5", verdict(id, "perhaps", ada), bad, nil},
		{"nobody", "e6", verdict(id, "approve", ""), bad, nil},
		{"nothing to decide", "e7", verdict("", "approve", ada), bad, nil},
		{"a reason of two lines", "e8", strings.Replace(good, "told", `a\nb`, 1), "400 INVALID_FIELD", nil},
	} {
		var edits []func(*http.Request)
		if tc.edit != nil {
			edits = append(edits, tc.edit)
		}
		if got := h.send(tc.id, tc.body, edits...); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if a, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id); err != nil || a.State != approval.Pending {
		t.Errorf("after all that: %+v, %v", a, err)
	}
	several := func(r *http.Request) {
		r.Header.Set("webhook-signature", "v1,AAAA v2,xx "+r.Header.Get("webhook-signature"))
	}
	if got := h.send("m", good, several); got != "200 APPROVED" {
		t.Errorf("one good signature of several: %s", got)
	}
	o.must(o.store.Close())
	if got := h.send("n", good); !strings.HasPrefix(got, "50") {
		t.Errorf("without a database: %s", got)
	}
}

// TestSecret: what can be a secret, and that none shows.
func TestSecret(t *testing.T) {
	for _, text := range []string{"", "short", "whsec_", "whsec_%%%", "whsec_c2hvcnQ=", strings.Repeat("x", 65)} {
		if _, err := webhook.ParseSecret(text); fault.KindOf(err) != fault.Invalid || len(text) > 6 && strings.Contains(err.Error(), text[6:]) && text[6:] != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
	s, err := webhook.ParseSecret(strings.Repeat("x", 24))
	if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v", s, s, s), "120") || fmt.Sprint(s) != "[redacted]" {
		t.Errorf("a secret shows: %v %#v, %v", s, s, err)
	}
}
