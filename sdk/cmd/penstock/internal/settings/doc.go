// SPDX-License-Identifier: Apache-2.0

// Package settings finds out which control plane the penstock command talks to and with which token, and where each setting
// came from.
//
// It owns the configuration file ~/.config/penstock/config.yaml, the variables PENSTOCK_ADDR, PENSTOCK_TOKEN and
// PENSTOCK_PORT_OFFSET, and the fallback to the token that `make run` leaves in .penstock. Package command calls it. It must
// never show a token or talk to anything.
package settings
