// SPDX-License-Identifier: Apache-2.0

package catalog

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
)

// Reasons of the faults that commands and queries make, beside those of packages resource, access and filter.
const (
	// ReasonNotFound (NotFound): there is no such resource that the caller may see.
	ReasonNotFound = "RESOURCE_NOT_FOUND"
	// ReasonAlreadyExists (AlreadyExists): the name is taken.
	ReasonAlreadyExists = "RESOURCE_ALREADY_EXISTS"
	// ReasonEtagStale (Conflict): the resource was changed since its etag was read.
	ReasonEtagStale = "ETAG_STALE"
	// ReasonInUse (Precondition): others refer to what would be deleted; the text lists them.
	ReasonInUse = "RESOURCE_IN_USE"
	// ReasonLastAdmin (Precondition): nobody with the role ADMIN would be left.
	ReasonLastAdmin = "LAST_ADMIN"
	// ReasonUnknownReference (Invalid): a resource names another one that does not exist.
	ReasonUnknownReference = "UNKNOWN_REFERENCE"
	// ReasonUnknownTool (Invalid): a gateway names a tool that has not been discovered.
	ReasonUnknownTool = "UNKNOWN_TOOL"
	// ReasonToolRemoved (Invalid): a gateway newly names a tool that its server no longer has.
	ReasonToolRemoved = "TOOL_REMOVED"
	// ReasonPinOtherServer (Invalid): the pinned connection is of another server than the tool.
	ReasonPinOtherServer = "PIN_CONNECTION_OF_OTHER_SERVER"
	// ReasonPinPruned (Invalid): Apply would delete a connection that a listed gateway pins.
	ReasonPinPruned = "PIN_CONNECTION_PRUNED"
	// ReasonNameClash (Invalid): two tools of a gateway would have one name (G-14).
	ReasonNameClash = "TOOL_NAME_CLASH"
	// ReasonNameReserved (Invalid): a tool would have the name of a tool of the gateway itself (G-26).
	ReasonNameReserved = "TOOL_NAME_RESERVED"
	// ReasonSecretKind (Invalid): a connection has secrets of a kind that its server does not take.
	ReasonSecretKind = "SECRET_KIND_MISMATCH" //nolint:gosec // a reason, no credential
	// ReasonSecretName (Invalid or Denied): a secret environment variable would replace one of the server, or change
	// which code runs and comes from somebody without the role ADMIN.
	ReasonSecretName = "SECRET_NAME_REFUSED" //nolint:gosec // a reason, no credential
	// ReasonNoSecrets (Precondition): secrets are given and no authserver is there to keep them.
	ReasonNoSecrets = "SECRETS_NOT_CONFIGURED"
	// ReasonDuplicate (Invalid): one request names a resource twice.
	ReasonDuplicate = "DUPLICATE_RESOURCE"
	// ReasonCredentialMissing (Precondition): a discovery needs a connection with a credential and there is none.
	ReasonCredentialMissing = "CREDENTIAL_MISSING"
	// ReasonNothingPending (Precondition): no changed definition waits to be accepted.
	ReasonNothingPending = "NO_PENDING_DEFINITION"
	// ReasonPendingChanged (Conflict): another definition waits than the one that was reviewed.
	ReasonPendingChanged = "PENDING_DEFINITION_CHANGED"
	// ReasonTokenRefused (Unauthenticated): a bearer token does not open the admin API. The text is the same whatever is
	// wrong with it, but for one that has expired or is made for gateways: who holds it may know.
	ReasonTokenRefused = "TOKEN_REFUSED" //nolint:gosec // a reason, no credential
)
