// SPDX-License-Identifier: Apache-2.0

// Package adminapi serves penstock.admin.v1 as gRPC, gRPC-Web and Connect from one handler, with health and reflection.
//
// It owns the translation between messages and the domain (protojson on one side, the catalog's JSON form on the other), the
// authentication of callers by bearer token, the validation rules that stand in the contracts, the mapping of faults to
// Connect errors, and what HTTP needs around it: request ids, limits, CORS. Each resource has a file whose methods decode,
// call the catalog and encode. The root package of the control plane mounts it.
//
// It must never decide who may do what (catalog does), know how revisions reach nodes ([Fleet]) or how tools are found
// ([Discoverer]), or touch storage.
package adminapi
