// SPDX-License-Identifier: Apache-2.0

// Package member makes a node or an authserver a member of the fleet and keeps it one (D-81): it exchanges a join token for
// a certificate, once, keeps key and certificate in a folder, and renews the certificate at half its life, also when that
// has expired while no control plane could be reached.
//
// The roots of the data plane and the authserver use it and give its [Member.Source] to tlsx. It makes no promise to
// anybody else. It must never know what the certificate is used for.
package member
