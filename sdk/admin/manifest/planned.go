// SPDX-License-Identifier: Apache-2.0

package manifest

import "slices"

// plannedFields are fields of the manifest contract that this version knows by name only, by message. A manifest that sets one
// is refused: it would look protected and not be.
func plannedFields(message string) []string {
	switch message {
	case "Gateway":
		return []string{"icon"}
	case "Policy":
		return []string{"approvers", "approval_ttl"}
	default:
		return nil
	}
}

// outputOnly are the fields that Penstock sets itself, by message.
func outputOnly(message, field string) bool {
	switch message {
	case "ToolAssignment":
		return slices.Contains([]string{"resolved_name", "gateway"}, field)
	case "Connection":
		if slices.Contains([]string{"secret_names", "credential_version"}, field) {
			return true
		}
	case "Gateway":
		if field == "scopes_supported" {
			return true
		}
	case "ServerCredential":
		if field == "version" {
			return true
		}
	case "OAuthCredential", "OAuthClientCredentials", "TokenExchange":
		if field == "secret_version" {
			return true
		}
	case "IdentityProvider":
		if slices.Contains([]string{"secret_version", "scim_token_sha256", "scim_token_time"}, field) {
			return true
		}
	case "SharedSignals":
		if field == "poll_token_version" {
			return true
		}
	case "User", "Team":
		if field == "provisioning" || message == "User" && field == "end_time" {
			return true
		}
	case "OAuthClient":
		if slices.Contains([]string{"secret_sha256", "secret_time"}, field) {
			return true
		}
	}
	return slices.Contains([]string{"uid", "create_time", "update_time", "status"}, field)
}
