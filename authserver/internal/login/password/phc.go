// SPDX-License-Identifier: Apache-2.0

package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// format writes a hash as a PHC string.
func format(p Params, salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.Memory, p.Passes, p.Threads, b64.EncodeToString(salt), b64.EncodeToString(key))
}

// parse reads what format wrote. The errors do not quote it.
func parse(encoded string) (p Params, salt, key []byte, err error) {
	unreadable := errors.New("the stored hash of a password cannot be read")
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return Params{}, nil, nil, unreadable
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Passes, &p.Threads); err != nil {
		return Params{}, nil, nil, unreadable
	}
	if err := p.check(); err != nil {
		return Params{}, nil, nil, err
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err = b64.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return Params{}, nil, nil, unreadable
	}
	key, err = b64.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > 64 || format(p, salt, key) != encoded {
		return Params{}, nil, nil, unreadable
	}
	return p, salt, key, nil
}
