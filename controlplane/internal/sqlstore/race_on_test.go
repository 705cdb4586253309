// SPDX-License-Identifier: Apache-2.0

//go:build race

package sqlstore_test

const raceDetector = true
