// SPDX-License-Identifier: Apache-2.0

package confirm_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// open is a sealer that seals nothing.
type open struct{}

func (open) SealApproval(gateway string, plain []byte) string {
	return gateway + "!" + hex.EncodeToString(plain)
}

func (open) OpenApproval(gateway, token string) ([]byte, bool) {
	text, ok := strings.CutPrefix(token, gateway+"!")
	plain, err := hex.DecodeString(text)
	return plain, ok && err == nil
}

// A state opens as what it was, for ten minutes, and nothing else opens.
func TestState(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, s := range []confirm.State{
		{Kind: confirm.Confirmation, Round: 1, ID: confirm.NewID(), Principal: "user:ada", Client: "cli", Tool: "db/drop", Policy: "p"},
		{Kind: confirm.Waiting, Round: 3, Approval: "a-1", Principal: "team:eng"},
		{Kind: confirm.Running, ID: confirm.NewID(), Node: "n1", Inner: []byte(`"pst1.x"`), Digest: wire.Digest{1, 2, 3}},
		{Kind: confirm.Running},
		{Kind: confirm.Confirmed, Round: 2, ID: confirm.NewID(), Inner: []byte(`"pst1.x"`)},
	} {
		raw := s.Seal(open{}, "g", now)
		got, ok := confirm.Open(open{}, "g", raw)
		if !ok {
			t.Fatalf("%s does not open", raw)
		}
		if diff := cmp.Diff(&s, got, cmpopts.IgnoreUnexported(confirm.State{})); diff != "" {
			t.Error(diff)
		}
		for after, want := range map[time.Duration]error{0: nil, confirm.Life - time.Second: nil, confirm.Life: confirm.ErrExpired} {
			if err := got.Check(s.Principal, s.Client, s.Digest, now.Add(after)); !errors.Is(err, want) {
				t.Errorf("after %s: %v", after, err)
			}
		}
		for _, err := range []error{
			got.Check(s.Principal+"x", s.Client, s.Digest, now), got.Check(s.Principal, s.Client+"x", s.Digest, now), got.Check(s.Principal, s.Client, wire.Digest{9}, now),
		} {
			if !errors.Is(err, confirm.ErrInvalid) {
				t.Errorf("another request: %v", err)
			}
		}
		if _, ok := confirm.Open(open{}, "g2", raw); ok {
			t.Error("it opens at another gateway")
		}
		plain, _ := hex.DecodeString(strings.TrimPrefix(strings.Trim(string(raw), `"`), "g!"))
		texts := len(plain) - len(s.Inner)
		for n := range texts {
			if _, ok := confirm.Open(open{}, "g", wire.Quote(open{}.SealApproval("g", plain[:n]))); ok {
				t.Errorf("the first %d of %d bytes open", n, len(plain))
			}
		}
	}
	for _, raw := range []string{``, `7`, `"x"`, `"g!"`, `"g!zz"`, wire0(0), wire0(9)} {
		if _, ok := confirm.Open(open{}, "g", []byte(raw)); ok {
			t.Errorf("%s opens", raw)
		}
	}
}

// wire0 is a state of a kind that there is not.
func wire0(kind confirm.Kind) string {
	s := confirm.State{Kind: kind}
	return string(s.Seal(open{}, "g", time.Unix(1, 0)))
}

// A ticket is good once, for its time, and there are not too many.
func TestTickets(t *testing.T) {
	var tickets confirm.Tickets
	now := time.Unix(1_800_000_000, 0)
	id, ok := tickets.Issue(now)
	if !ok {
		t.Fatal("none issued")
	}
	for range 2 {
		if !tickets.Good(id) {
			t.Error("a ticket is not good, or to look at it used it")
		}
	}
	var claimed atomic.Int32
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if tickets.Claim(id) {
				claimed.Add(1)
			}
		})
	}
	all.Wait()
	if claimed.Load() != 1 {
		t.Errorf("claimed %d times", claimed.Load())
	}
	if tickets.Good(id) || tickets.Claim(confirm.NewID()) {
		t.Error("a made-up ticket is good")
	}
	n := 1
	for ; ok && n < 20_000; n++ {
		_, ok = tickets.Issue(now)
	}
	if n != 10_001 {
		t.Errorf("%d were issued", n)
	}
	if _, ok := tickets.Issue(now.Add(confirm.Life)); !ok {
		t.Error("none is issued when the others are over")
	}
}

// Who can be asked (M-30).
func TestShown(t *testing.T) {
	for _, tc := range []struct {
		capabilities string
		version      wire.Version
		want         bool
	}{
		{`{"elicitation":{}}`, wire.V20250618, true},
		{`{"elicitation":{}}`, wire.V20260728, true},
		{`{"elicitation":{"form":{}}}`, wire.V20251125, true},
		{`{"elicitation":{"form":{},"url":{}}}`, wire.V20251125, true},
		{`{"elicitation":{"url":{}}}`, wire.V20251125, false},
		{`{"elicitation":{}}`, wire.V20250326, false},
		{`{"elicitation":true}`, wire.V20251125, false},
		{`{"sampling":{}}`, wire.V20251125, false},
		{``, wire.V20251125, false},
	} {
		if got := confirm.Shown(tc.version, []byte(tc.capabilities)); got != tc.want {
			t.Errorf("%s %s: %t", tc.version, tc.capabilities, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	for raw, want := range map[string]confirm.Answer{
		`{"approval":{"action":"accept","content":{}}}`: confirm.Yes, `{"approval":{"action":"decline"}}`: confirm.No, `{"approval":{"action":"cancel"}}`: confirm.No,
		`{"approval":{"action":"Accept"}}`: confirm.No, `{"approval":{"action":true}}`: confirm.Nothing, `{"approval":{}}`: confirm.Nothing,
		`{"approval":"accept"}`: confirm.Nothing, `{"connect":{"action":"accept"}}`: confirm.Nothing, `[]`: confirm.Nothing, ``: confirm.Nothing,
	} {
		if got := confirm.AnswerIn([]byte(raw)); got != want {
			t.Errorf("%s: %d, want %d", raw, got, want)
		}
	}
}

// What a person is shown of the arguments can be read, and is bounded.
func TestArguments(t *testing.T) {
	for raw, want := range map[string]string{
		``: `{}`,
		`{"a":"` + "\u202e" + `b","c":"` + "\u200b" + `"}`: `{"a":"\u{202E}b","c":"\u{200B}"}`,
		"{\n\t\"a\": 1}":   `{  "a": 1}`,
		"{\"a\":\"\xff\"}": `{"a":"\u{FFFD}"}`,
		fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 2000-8)): fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 2000-8)),
		fmt.Sprintf(`{"a":%q}`, strings.Repeat("ä", 5000)):   `{"a":"` + strings.Repeat("ä", 2000-6) + ` … (cut: the arguments are 10008 bytes long)`,
	} {
		var in []byte
		if raw != "" {
			in = []byte(raw)
		}
		if got := confirm.Arguments(in); got != want {
			t.Errorf("%.80q: %.200q, want %.200q", raw, got, want)
		}
	}
	if got := confirm.Words("a\nb\u202ec"); got != "a b c" {
		t.Errorf("%q", got)
	}
}
