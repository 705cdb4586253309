// SPDX-License-Identifier: Apache-2.0

package resource

import "time"

// Connection is an installed server with a credential. SecretHeaders and SecretEnv are input only and never stored
// here: SecretNames and CredentialVersion refer to what the authserver keeps.
type Connection struct {
	Meta
	Server            string            `json:"server,omitempty" field:"immutable"`
	Owner             *Owner            `json:"owner,omitempty" field:"immutable"`
	SecretHeaders     map[string]string `json:"secret_headers,omitempty" field:"secret"`
	SecretEnv         map[string]string `json:"secret_env,omitempty" field:"secret"`
	SecretNames       []string          `json:"secret_names,omitempty" field:"output"`
	CredentialVersion string            `json:"credential_version,omitempty" field:"output"`
	Status            *ConnectionStatus `json:"status,omitempty" field:"output"`
}

// ConnectionStatus says whether calls over a connection can succeed. It is kept outside the revision log.
type ConnectionStatus struct {
	State     ConnectionState `json:"state,omitempty"`
	CheckTime time.Time       `json:"check_time,omitzero"`
	LastError string          `json:"last_error,omitempty"`
}

// ConnectionState is the state of a connection; empty means not checked yet.
type ConnectionState string

// The states of a connection.
const (
	ConnectionReady       ConnectionState = "CONNECTION_STATE_READY"
	ConnectionNeedsAuth   ConnectionState = "CONNECTION_STATE_NEEDS_AUTH"
	ConnectionUnreachable ConnectionState = "CONNECTION_STATE_UNREACHABLE"
)
