// SPDX-License-Identifier: Apache-2.0

package catalog

// Reasons of the faults that commands and queries make, beside those of packages resource, access and filter.
const (
	// ReasonAlreadyExists (AlreadyExists): the name is taken.
	ReasonAlreadyExists = "RESOURCE_ALREADY_EXISTS"
	// ReasonNoSecrets (Precondition): secrets are given and no authserver is there to keep them.
	ReasonNoSecrets = "SECRETS_NOT_CONFIGURED"
	// ReasonPasswordWeak (Invalid): a password is too short, too long, or no text.
	ReasonPasswordWeak = "PASSWORD_REFUSED"
	// ReasonNoClientSecret (Precondition): an OAuth client does not authenticate with a secret.
	ReasonNoClientSecret = "CLIENT_TAKES_NO_SECRET"
	// ReasonTokenExpired (Precondition): a bearer token that has expired is not rotated.
	ReasonTokenExpired = "TOKEN_EXPIRED"
	// ReasonDuplicate (Invalid): one request names a resource twice.
	ReasonDuplicate = "DUPLICATE_RESOURCE"
	// ReasonTokenRefused (Unauthenticated): a bearer token does not open the admin API. The text is the same whatever is
	// wrong with it, but for one that has expired or is made for gateways: who holds it may know.
	ReasonTokenRefused = "TOKEN_REFUSED"
)
