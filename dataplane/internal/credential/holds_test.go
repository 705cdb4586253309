// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"testing"
	"time"
)

// TestHolds: what is at hand is known without a question to anybody, as long as it is good for.
func TestHolds(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		if b.Holds(wanted("c1", "v_1", user("ada"))) {
			t.Error("held before it was asked for")
		}
		if _, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada"))); err != nil {
			t.Fatal(err)
		}
		asked := len(b.server.asked)
		if !b.Holds(wanted("c1", "v_1", user("ada"))) {
			t.Error("not held")
		}
		if b.Holds(wanted("c1", "v_1", user("bob"))) || b.Holds(wanted("c1", "v_2", user("ada"))) {
			t.Error("somebody else's is held")
		}
		time.Sleep(time.Hour) // of the bubble
		if b.Holds(wanted("c1", "v_1", user("ada"))) {
			t.Error("held for ever")
		}
		if got := len(b.server.asked); got != asked {
			t.Errorf("%d questions, %d before", got, asked)
		}
	})
}
