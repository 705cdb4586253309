// SPDX-License-Identifier: Apache-2.0

// Package consent decides an authorization request once somebody is logged in: whether she may use the gateway (AZ-7), which
// scopes the client gets (AZ-8), and whether she has to be asked (AZ-12 to AZ-15). It stores the consent and issues the code
// (AZ-19), in one transaction with their audit events.
//
// Browsers come here from authorize and from the login page. It must never know how people log in or how codes are redeemed.
package consent
