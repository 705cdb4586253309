// SPDX-License-Identifier: Apache-2.0

//go:build race

package storetest

const large = 1_500
