// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/approval/webhook"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestWebhookSecretRotates: a secret that changes in its file counts from the next message on, for both directions; while the file is no good,
// the last good one does, and the log says so once.
func TestWebhookSecretRotates(t *testing.T) {
	const first, second = "first-secret-of-the-webhook", "second-secret-of-the-webhook"
	o := newOrg(t, engines()["SQLite"](t))
	o.store, o.Service = o.replica(true)
	path := filepath.Join(t.TempDir(), "secret")
	put := func(text string) { // in one step, as secret mounts do
		o.must(os.WriteFile(path+".new", []byte(text), 0o600))
		o.must(os.Rename(path+".new", path))
	}
	put(first)
	var log bytes.Buffer
	file, err := webhook.OpenSecretFile(path, slog.New(slog.NewTextHandler(&log, nil)))
	o.must(err)

	var signed string // key of the last message that was sent
	outside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, err := body.ReadFrom(r.Body)
		if signed = "neither"; err != nil {
			t.Error(err)
		}
		for _, key := range []string{first, second} {
			if r.Header.Get("webhook-signature") == signedWith(key, r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body.String()) {
				signed = key
			}
		}
	}))
	t.Cleanup(outside.Close)
	sender, err := webhook.NewSender(webhook.SenderConfig{
		URL: outside.URL, Secret: file.Secret, Outbox: o.store.Approvals(o.keys), Log: slog.New(slog.DiscardHandler), Now: o.clock.now,
	})
	o.must(err)
	receiver := httptest.NewServer(&webhook.Receiver{
		Secret: file.Secret, Decider: o.Service, Answers: o.store.Approvals(o.keys), Log: slog.New(slog.DiscardHandler), Now: o.clock.now,
	})
	t.Cleanup(receiver.Close)
	calls := 0
	check := func(name, good, bad string) {
		t.Helper()
		calls++
		o.hold("PENDING", arguments(`{"n":`+strconv.Itoa(calls)+`}`))
		o.must(sender.Send(t.Context()))
		if signed != good {
			t.Errorf("%s: signed with %s", name, signed)
		}
		for key, want := range map[string]int{good: http.StatusBadRequest, bad: http.StatusUnauthorized} { // signed well, and no decision
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, receiver.URL, strings.NewReader(`{}`))
			o.must(err)
			id, stamp := "m"+strconv.Itoa(calls), strconv.FormatInt(o.clock.now().Unix(), 10)
			req.Header.Set("webhook-id", id)
			req.Header.Set("webhook-timestamp", stamp)
			req.Header.Set("webhook-signature", signedWith(key, id, stamp, `{}`))
			res, err := http.DefaultClient.Do(req)
			o.must(err)
			o.must(res.Body.Close())
			if res.StatusCode != want {
				t.Errorf("%s: a message signed with %s is %d, want %d", name, key, res.StatusCode, want)
			}
		}
	}
	check("at the start", first, second)
	put(second)
	check("rotated", second, first)
	put("too short")
	check("no secret", second, first)
	o.must(os.Remove(path))
	check("no file", second, first)
	put(first)
	check("good again", first, second)
	if n := strings.Count(log.String(), "the last good one stays in use"); n != 2 || strings.Count(log.String(), "level=ERROR") != 2 {
		t.Errorf("%d errors were logged, want one for each change for the worse: %s", n, &log)
	}
	for _, secret := range []string{first, second, "too short"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has the secret: %s", &log)
		}
	}
	put("too short")
	if _, err := webhook.OpenSecretFile(path, slog.New(slog.DiscardHandler)); fault.From(err) == nil || fault.From(err).Reason != webhook.ReasonSecret {
		t.Errorf("opened without a secret: %v", err)
	}
	if _, err := webhook.OpenSecretFile(path+".none", slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened without a file: %v", err)
	}
}

// signedWith signs as the text of Standard Webhooks says, with nothing of the product.
func signedWith(key, id, timestamp, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = h.Write([]byte(id + "." + timestamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}
