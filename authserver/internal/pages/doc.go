// SPDX-License-Identifier: Apache-2.0

// Package pages is all that people see of the authserver: templates without script, one style sheet, and the security headers
// of every page (AZ-16). It also names and makes cookies and the tokens of forms, because they belong to pages as a whole.
//
// Rooms that talk to browsers fill a page's struct and call [Render]. It must never know the store, clients or users: it
// shows what it is given, escaped.
package pages
