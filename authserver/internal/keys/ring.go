// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// The place of private keys in the store, to which their ciphertext is bound.
const (
	table  = store.SigningKeyTable
	column = store.SigningKeyColumn
)

// ring is the keys as they are loaded. It is immutable.
type ring struct {
	kid       string // of the active key
	private   *ecdsa.PrivateKey
	published map[string]*ecdsa.PublicKey
	jwks      []byte // JSON Web Key Set of published
}

// load reads the keys and publishes them in this process.
func (k *Keys) load(ctx context.Context) error {
	list, err := k.c.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	byAge(list)
	r := &ring{published: make(map[string]*ecdsa.PublicKey)}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, one := range slices.Backward(list) {
		if one.State == store.KeyRevoked {
			continue
		}
		public, doc, err := publicOf(one)
		if err != nil {
			return err
		}
		r.published[one.ID] = public
		set.Keys = append(set.Keys, doc)
	}
	active := first(list, store.KeyActive)
	if active == nil {
		return notReady()
	}
	if err := k.unlock(ctx, r, *active); err != nil {
		return err
	}
	if r.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("encode the key set: %w", err)
	}
	k.ring.Store(r)
	return nil
}

// unlock puts the active key into r. The key that is loaded already is not opened again: the vault may be far away.
func (k *Keys) unlock(ctx context.Context, r *ring, active store.SigningKey) error {
	r.kid = active.ID
	if old := k.ring.Load(); old != nil && old.kid == active.ID {
		r.private = old.private
		return nil
	}
	der, err := k.c.Vault.OpenRow(ctx, table, active.ID, column, active.KeyID, active.Sealed)
	if err != nil {
		// SE-2: a damaged or changed row, or a lost key of the vault.
		k.c.Log.ErrorContext(ctx, "signing key does not open", obs.AttrError, err.Error())
		return fmt.Errorf("open signing key %s: %w", active.ID, err)
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("open signing key %s: its form is unknown", active.ID) // the parser's error could quote it
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(r.published[active.ID]) {
		return fmt.Errorf("open signing key %s: it is not the private key of its public one", active.ID)
	}
	r.private = private
	return nil
}

// publicOf returns the public key of a row, and the row's document with public members only (KM-2), whatever the row holds.
func publicOf(one store.SigningKey) (*ecdsa.PublicKey, []byte, error) {
	var stored jose.JSONWebKey
	if err := stored.UnmarshalJSON(one.Public); err != nil {
		return nil, nil, fmt.Errorf("read signing key %s: %w", one.ID, err)
	}
	public, ok := stored.Key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, nil, fmt.Errorf("read signing key %s: it is no public key of P-256", one.ID)
	}
	doc, kid, err := describe(public)
	if err != nil {
		return nil, nil, err
	}
	if kid != one.ID {
		return nil, nil, fmt.Errorf("read signing key %s: its identifier is another", one.ID)
	}
	return public, doc, nil
}

// describe returns the JSON Web Key of a public key (RFC 7517), and its kid.
func describe(public *ecdsa.PublicKey) (doc []byte, kid string, err error) {
	key := jose.JSONWebKey{Key: public, Algorithm: string(jose.ES256), Use: "sig"}
	if key.KeyID, err = thumbprint(key); err != nil {
		return nil, "", err
	}
	if doc, err = key.MarshalJSON(); err != nil {
		return nil, "", fmt.Errorf("describe a key: %w", err)
	}
	return doc, key.KeyID, nil
}

// thumbprint returns the SHA-256 thumbprint of a key in base64url (RFC 7638 §3).
func thumbprint(key jose.JSONWebKey) (string, error) {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("make the thumbprint of a key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// generate makes a key pair and seals its private part.
func (k *Keys) generate(ctx context.Context) (store.SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	var n store.SigningKey
	if n.Public, n.ID, err = describe(&private.PublicKey); err != nil {
		return store.SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return store.SigningKey{}, errors.New("encode a signing key")
	}
	defer clear(der)
	if n.KeyID, n.Sealed, err = k.c.Vault.SealRow(ctx, table, n.ID, column, der); err != nil {
		return store.SigningKey{}, fmt.Errorf("seal a signing key: %w", err)
	}
	return n, nil
}

// byAge sorts keys, the oldest first, in one order for all processes.
func byAge(list []store.SigningKey) {
	slices.SortFunc(list, func(a, b store.SigningKey) int {
		return cmp.Or(a.CreateTime.Compare(b.CreateTime), cmp.Compare(a.ID, b.ID))
	})
}

// first returns the oldest key in a state, nil if there is none.
func first(list []store.SigningKey, state store.SigningKeyState) *store.SigningKey {
	for i := range list {
		if list[i].State == state {
			return &list[i]
		}
	}
	return nil
}
