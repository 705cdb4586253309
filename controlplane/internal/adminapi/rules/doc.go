// SPDX-License-Identifier: Apache-2.0

// Package rules checks requests against the validation rules that stand in the contracts.
//
// It owns the words in which a broken rule is reported, and what of a resource an update with a field mask has to satisfy.
// adminapi calls it, as an interceptor. It must never know a rule that is not in the contracts: those are the catalog's.
package rules
