// SPDX-License-Identifier: Apache-2.0

package revert

import (
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

func fmtRevision(r record.Revision) string { return strconv.FormatUint(uint64(r), 10) }

// Keep puts into an old state what does not go back with it: the references to secrets. A resource that lives keeps those it
// has now: an older secret may be gone, or known to somebody. One that comes back has none, because its secrets went with
// it, and needs new ones; its conditions say so. Now is nil if it does not live.
func Keep(old, now resource.Object) {
	switch old := old.(type) {
	case *resource.Connection:
		old.CredentialVersion, old.SecretNames = "", nil
		if now, ok := now.(*resource.Connection); ok && now != nil {
			old.CredentialVersion, old.SecretNames = now.CredentialVersion, slices.Clone(now.SecretNames)
		}
	case *resource.IdentityProvider:
		old.SecretVersion, old.ScimTokenSHA256, old.ScimTokenTime = "", nil, time.Time{}
		if now, ok := now.(*resource.IdentityProvider); ok && now != nil {
			old.SecretVersion = now.SecretVersion
			old.ScimTokenSHA256, old.ScimTokenTime = slices.Clone(now.ScimTokenSHA256), now.ScimTokenTime
		}
		living, _ := now.(*resource.IdentityProvider)
		old.KeepPollToken(living)
	case *resource.User:
		// What an identity provider says holds until it says something else: nobody who has left comes back with a rollback.
		if now, ok := now.(*resource.User); ok && now != nil {
			old.Provisioning, old.EndTime = now.Provisioning, now.EndTime
			old.Deactivated = old.Deactivated || now.Provisioning != nil && now.Provisioning.Inactive
		}
	case *resource.Team:
		if now, ok := now.(*resource.Team); ok && now != nil {
			old.Provisioning = now.Provisioning
		}
	case *resource.Server:
		now, _ := now.(*resource.Server)
		old.KeepClientSecret(now)
	case *resource.OAuthClient:
		old.SecretSHA256, old.SecretTime = nil, time.Time{}
		if now, ok := now.(*resource.OAuthClient); ok && now != nil {
			old.SecretSHA256, old.SecretTime = slices.Clone(now.SecretSHA256), now.SecretTime
		}
	}
}

// Continues reports whether a living resource may have the secrets that it has now when it is as it was: it is the same one,
// or another one that was made for the same purpose.
func Continues(old, now resource.Object, same bool) bool {
	switch now := now.(type) {
	case *resource.Connection:
		old, ok := old.(*resource.Connection)
		return ok && (same || now.Server == old.Server && reflect.DeepEqual(now.Owner, old.Owner))
	case *resource.IdentityProvider:
		old, ok := old.(*resource.IdentityProvider)
		return ok && now.Issuer == old.Issuer && now.ClientID == old.ClientID
	default:
		return same
	}
}
