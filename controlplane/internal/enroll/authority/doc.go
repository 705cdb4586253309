// SPDX-License-Identifier: Apache-2.0

// Package authority is the built-in certificate authority (D-81): a certificate and a key in two files, which all replicas of
// the control plane share. It issues X.509-SVIDs for the workloads of one trust domain.
//
// enroll and the root ask it. It must never know who may have a certificate: it signs what it is told to.
package authority
