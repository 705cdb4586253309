// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The secret before a rotation is the same token with an end of its own, which is never later (ST-6).
func TestMakePreviousToken(t *testing.T) {
	at := func(hour int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC))
	}
	old := bytes.Repeat([]byte{7}, 32)
	for _, tc := range []struct {
		name     string
		hash     []byte
		end, all *timestamppb.Timestamp
		want     *timestamppb.Timestamp // nil: none
		reason   string
	}{
		{"not rotated", nil, nil, at(20), nil, ""},
		{"rotated", old, at(10), at(20), at(10), ""},
		{"not longer than the token", old, at(22), at(20), at(20), ""},
		{"of a token without end", old, at(10), nil, at(10), ""},
		{"without an end", old, nil, at(20), nil, ""},
		{"a hash that is none", old[:31], at(10), at(20), nil, "BAD_TOKEN_HASH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &resourcev1.BearerToken{
				Name: "laptop", Uid: "u", Sha256: bytes.Repeat([]byte{9}, 32), PreviousSha256: tc.hash, PreviousExpireTime: tc.end, ExpireTime: tc.all,
				Gateways: []string{"eng"}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: "ada"}},
			}
			_, token, err := compile.MakeToken(r)
			if err != nil {
				t.Fatal(err)
			}
			before := *token
			hash, previous, err := compile.MakePreviousToken(r, token)
			if tc.reason != "" {
				if fault.From(err).Reason != tc.reason {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || (previous != nil) != (tc.want != nil) {
				t.Fatalf("got %+v, %v", previous, err)
			}
			if !token.Expires.Equal(before.Expires) {
				t.Error("the new secret's end was changed")
			}
			if previous == nil {
				return
			}
			if !bytes.Equal(hash[:], old) || !previous.Expires.Equal(tc.want.AsTime()) || previous.Name != "laptop" || previous.UID != "u" || len(previous.Gateways) != 1 {
				t.Errorf("%x: %+v", hash, previous)
			}
		})
	}
}
