// SPDX-License-Identifier: Apache-2.0

package ident_test

import (
	"hash/crc32"
	"math/big"
	"strings"
)

// largest and tooLarge are 2^256-1 and 2^256 after the prefix, written by math/big and not by the code under test.
func largest() string { return "pst_s_" + digits62(new(big.Int).Sub(two256(), big.NewInt(1)), 43) }

func tooLarge() string { return "pst_s_" + digits62(two256(), 43) }

func two256() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 256) }

func crcOf(body string) string {
	return digits62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), 6)
}

// digits62 writes n in base 62. math/big has lower-case letters first, tokens have capitals first.
func digits62(n *big.Int, width int) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return r
		}
	}, n.Text(62))
	return strings.Repeat("0", width-len(s)) + s
}
