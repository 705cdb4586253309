// SPDX-License-Identifier: Apache-2.0

// Package quota owns how often something may happen over all processes together: a limit of so many in a period, with so many
// at once ([Limit], the generic cell rate algorithm), kept in this process ([Memory]) or in a Redis that several share
// ([Redis]), under one suite (quotatest).
//
// [Limiter] is for a call path: it takes permits from the store in batches ahead of need, so that a call costs no round trip.
// The rate limits of gateways (dataplane's limit, G-50) stand on it. The authserver's limit, whose requests are rare, asks a
// [Store] for each one. It must never know who is counted or why: keys are text.
package quota
