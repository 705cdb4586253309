// SPDX-License-Identifier: Apache-2.0

package authserver

// features returns which credentials authservers of this release make, and that they take security events, in the words by which
// admission asks for it (D-37): a server with a credential of another kind is not written while this authserver is connected.
func features() []string {
	return []string{
		"upstream_oauth", "client_credentials", "token_exchange", "caller_idp_token", "shared_signals",
	}
}
