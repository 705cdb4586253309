// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// demoEmail is the person of the demo.
const demoEmail = "demo@penstock.local"

// person is the content of demo.user: somebody who can log in.
type person struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// user makes the demo's person, with a password that only demo.user holds. A file that is there already is left alone, and
// so is the password it holds.
func (d *demonstration) user(ctx context.Context, client *admin.Client) error {
	path := d.c.path(demoUserFile)
	if read(path) != "" {
		return nil
	}
	request := &adminv1.CreateUserRequest{User: &resourcev1.User{Name: demoEmail, DisplayName: "Demo", Role: resourcev1.Role_ROLE_MEMBER}}
	if _, err := client.Users.CreateUser(ctx, request); err != nil && !admin.IsAlreadyExists(err) {
		return fmt.Errorf("make the demo user: %w", err)
	}
	p := person{Email: demoEmail, Password: rand.Text()}
	if _, err := client.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: p.Email, Password: p.Password}); err != nil {
		return fmt.Errorf("set the password of the demo user: %w", err)
	}
	text, err := json.Marshal(p) //nolint:gosec // G117: the file is there to tell the password; only its owner may read it
	if err != nil {
		return err
	}
	return write(path, append(text, '\n'), 0o600)
}
