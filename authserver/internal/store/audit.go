// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	// ReasonAuditBroken: the audit chain is not what was recorded (Precondition).
	ReasonAuditBroken = "AUDIT_CHAIN_BROKEN"
	// ReasonAuditEmpty: no server has recorded anything in the database (Precondition).
	ReasonAuditEmpty = "AUDIT_LOG_EMPTY"
)

// Digest returns a text as an audit event names it: its SHA-256 in hexadecimal, nothing for no text.
func Digest(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// AuditHash returns the hash of a record: SHA-256 of the 32 bytes of the hash before and the event's stored JSON (AU-1).
func AuditHash(previous Hash, event []byte) Hash {
	return sha256.Sum256(append(bytes.Clone(previous[:]), event...))
}

// VerifyAudit checks records, in order, that follow the one with the sequence number and hash of last (zero: from the first
// on), and returns the end, which the next call starts with. A gap, a changed, inserted or removed record is Precondition,
// AUDIT_CHAIN_BROKEN, whose text names the place. That the newest ones were cut off shows only by comparison with an end
// that was kept elsewhere.
func VerifyAudit(last AuditRecord, records []AuditRecord) (AuditRecord, error) {
	for _, r := range records {
		var e Event
		switch {
		case r.Seq != last.Seq+1:
			return last, broken(last.Seq, "is followed by record %d", r.Seq)
		case r.Previous != last.Hash:
			return last, broken(r.Seq, "does not follow record %d", last.Seq)
		case r.Hash != AuditHash(r.Previous, r.JSON):
			return last, broken(r.Seq, "was changed after record %d", last.Seq)
		case json.Unmarshal(r.JSON, &e) != nil || e != r.Event:
			return last, broken(r.Seq, "does not say what its JSON says; the one before is %d", last.Seq)
		}
		last = r
	}
	return last, nil
}

func broken(seq int64, format string, other int64) error {
	return fault.Newf(fault.Precondition, ReasonAuditBroken, "The audit chain is broken: record %d "+format+".", seq, other)
}

// ExportAudit writes the whole chain to w, a record a line, page records at a time, each of which it verifies first. It ends at
// the first that [VerifyAudit] refuses. An empty chain is Precondition, AUDIT_LOG_EMPTY: a server records its first key.
func ExportAudit(ctx context.Context, r OAuthReader, w io.Writer, page int) error {
	var last AuditRecord
	for {
		records, err := r.Audit(ctx, last.Seq, page)
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		for i := range records {
			if last, err = VerifyAudit(last, records[i:i+1]); err != nil {
				return err
			}
			// By hand: an encoder would write the event's bytes anew, and the hash is over those that are stored.
			if _, err := fmt.Fprintf(w, "{\"seq\":%d,\"previous\":\"%x\",\"hash\":\"%x\",\"event\":%s}\n", last.Seq, last.Previous, last.Hash, last.JSON); err != nil {
				return fmt.Errorf("write the audit log: %w", err)
			}
		}
		switch {
		case last.Seq == 0:
			return fault.New(fault.Precondition, ReasonAuditEmpty, "The audit log is empty: no authserver has run on this database.")
		case len(records) < page:
			return nil
		}
	}
}
