// SPDX-License-Identifier: Apache-2.0

package record

// Reasons of the faults that stores make.
const (
	// ReasonRevisionUnknown (Stale): the changes after a revision are no longer kept, or the revision is of another log.
	ReasonRevisionUnknown = "REVISION_UNKNOWN"
	// ReasonBlobNotFound (NotFound): no blob has the hash.
	ReasonBlobNotFound = "BLOB_NOT_FOUND"
	// ReasonRecordNotFound (NotFound): a record to be deleted does not live.
	ReasonRecordNotFound = "RECORD_NOT_FOUND"
	// ReasonLookupTaken (AlreadyExists): two living records of a kind would have one second key.
	ReasonLookupTaken = "LOOKUP_TAKEN"
	// ReasonWriteConflict (Conflict): another transaction changed what this one relied on, several times in a row.
	ReasonWriteConflict = "WRITE_CONFLICT"
	// ReasonStoreBusy (Exhausted): another transaction held a lock for more than 5 s (D-2).
	ReasonStoreBusy = "STORE_BUSY"
	// ReasonStoreUnavailable (Unavailable): the database does not answer or cannot be written.
	ReasonStoreUnavailable = "STORE_UNAVAILABLE"
	// ReasonStoreUnusable (Precondition): the database cannot be opened as it is; the text says what it is and what to do.
	ReasonStoreUnusable = "STORE_UNUSABLE"
	// ReasonEpochHeadDiffers (Precondition): a new epoch was asked for at another revision than the head.
	ReasonEpochHeadDiffers = "EPOCH_HEAD_DIFFERS"
	// ReasonRolloutRunning (Precondition): a staged rollout is not over yet.
	ReasonRolloutRunning = "ROLLOUT_RUNNING"
)
