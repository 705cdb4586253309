// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestApprovalClients has calls held for npm's clients, as TestApprovals does for others.
func TestApprovalClients(t *testing.T) {
	t.Parallel()
	h := startHeld(t)
	for _, era := range []string{"v1", "legacy", "modern"} {
		for _, tc := range []struct{ gateway, answer, want, refused string }{
			{"self", "accept", "hi", ""},
			{"self", "decline", "was not confirmed", "1"},
			{"self", "", "this client cannot ask", "1"},
			{"others", "", "holds this call", "1"},
			{"others", "accept", "hi", ""},
		} {
			t.Run(era+" "+tc.gateway+" "+tc.answer, func(t *testing.T) {
				message := "hi " + era + " " + tc.gateway + " " + tc.answer
				settings := map[string]string{
					"MCP_URL": h.Nodes[0].Gateway(tc.gateway), "MCP_TOKEN": h.token, "MCP_ANSWER": tc.answer, "MCP_MESSAGE": message, "MCP_WANT": tc.want, "MCP_REFUSED": tc.refused,
				}
				var client sync.WaitGroup
				client.Go(func() { t.Run("client", func(t *testing.T) { drive(t, "approval.mjs", era, settings) }) })
				if tc.gateway == "others" { // while the client waits, or after it has heard what it waits for
					var waiting []*adminv1.Approval
					testenv.Until(t, "the call to be held", func() bool {
						list, err := h.bob.Approvals.ListApprovals(t.Context(), &adminv1.ListApprovalsRequest{})
						waiting = list.GetApprovals()
						return err == nil && len(waiting) == 1
					})
					if err := h.decide(t.Context(), h.bob, waiting[0].GetId(), tc.refused == ""); err != nil {
						t.Error(err)
					}
				}
				client.Wait()
				if tc.refused != "" {
					h.ranNothing(t)
				} else {
					h.ranOnce(t, message)
				}
			})
		}
	}
}

// TestApprovalProgress: a client of npm that gives up after 20 s waits for longer, because it hears that the call goes on (M-50).
func TestApprovalProgress(t *testing.T) {
	t.Parallel()
	h := startHeld(t)
	for era, tc := range map[string]struct{ answer, notices string }{
		"v1":     {"never", "2"},
		"modern": {"accept", "1"},
	} {
		t.Run(era, func(t *testing.T) {
			told := filepath.Join(t.TempDir(), "told")
			var client sync.WaitGroup
			client.Go(func() {
				t.Run("client", func(t *testing.T) {
					drive(t, "approval.mjs", era, map[string]string{
						"MCP_URL": h.Nodes[0].Gateway("others"), "MCP_TOKEN": h.token, "MCP_ANSWER": tc.answer, "MCP_MESSAGE": era, "MCP_WANT": era,
						"MCP_NOTICES": tc.notices, "MCP_TOLD": told,
					})
				})
			})
			var text []byte
			testenv.UntilWithin(t, time.Minute, "the client to be told that it waits", func() bool {
				var err error
				text, err = os.ReadFile(told)
				return err == nil && len(text) > 0
			})
			a := h.pending(t)
			if !strings.HasPrefix(string(text), "The call waits for an approval by bob@penstock.test or carol@penstock.test (approval "+a.GetId()+", until ") {
				t.Errorf("told %q", text)
			}
			if err := h.decide(t.Context(), h.bob, a.GetId(), true); err != nil {
				t.Error(err)
			}
			client.Wait()
			h.ranOnce(t, era)
		})
	}
}
