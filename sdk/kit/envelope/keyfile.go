// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// localPrefix begins the ids of keys of a key file.
const localPrefix = "local/"

// KeyFile is a [KMS] on a file: a Tink keyset in JSON, readable by its owner only (0600 or 0400). A changed file is read
// again at the next use, so that a rotation needs no restart; one that cannot be read then leaves the keys in use as
// they are, and the error with whoever asks for a key that is not among them.
type KeyFile struct {
	path string

	mu     sync.Mutex // guards what follows
	keys   *keySet
	stamp  stamp
	failed error // of the last attempt to read the file again
}

// keySet is the content of a key file. It is immutable.
type keySet struct {
	primary string
	byID    map[string]tink.AEAD
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// OpenKeyFile reads a key file. A missing one is Precondition VAULT_KEY_MISSING; one that others may read, or that is no
// usable keyset, is Precondition VAULT_KEY_FILE_INVALID.
func OpenKeyFile(path string) (*KeyFile, error) {
	keys, at, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return &KeyFile{path: path, keys: keys, stamp: at}, nil
}

// CreateKeyFile writes a key file with one new key, mode 0600. It never overwrites: an existing file, good or bad, is
// Precondition VAULT_KEY_FILE_INVALID.
func CreateKeyFile(path string) error {
	m := keyset.NewManager()
	if err := addPrimary(m); err != nil {
		return err
	}
	return writeKeyFile(path, m, os.Link) // Link, because Rename would replace a file that another process just made
}

// RotateKeyFile adds a new key to a key file and makes it the primary one. The old keys stay, because they open what they
// sealed.
func RotateKeyFile(path string) error {
	handle, _, err := loadHandle(path)
	if err != nil {
		return err
	}
	m := keyset.NewManagerFromHandle(handle)
	if err := addPrimary(m); err != nil {
		return err
	}
	return writeKeyFile(path, m, os.Rename)
}

// Primary implements [KMS].
func (f *KeyFile) Primary(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.keys.primary, nil
}

// Key implements [KMS].
func (f *KeyFile) Key(_ context.Context, id string) (tink.AEADWithContext, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	key, ok := f.keys.byID[id]
	if !ok {
		return nil, Missing(id).Because(f.failed)
	}
	return localKey{key}, nil
}

// refresh reads the file again if it changed. The caller holds mu.
func (f *KeyFile) refresh() {
	info, err := os.Stat(f.path)
	if err == nil && stampOf(info) == f.stamp {
		return
	}
	keys, at, err := readKeyFile(f.path)
	f.failed = err
	if err == nil {
		f.keys, f.stamp = keys, at
	}
}

// localKey is one key of a file.
type localKey struct{ aead tink.AEAD }

// EncryptWithContext implements [tink.AEADWithContext].
func (k localKey) EncryptWithContext(_ context.Context, plain, associated []byte) ([]byte, error) {
	return k.aead.Encrypt(plain, associated)
}

// DecryptWithContext implements [tink.AEADWithContext].
func (k localKey) DecryptWithContext(_ context.Context, sealed, associated []byte) ([]byte, error) {
	return k.aead.Decrypt(sealed, associated)
}

func readKeyFile(path string) (*keySet, stamp, error) {
	handle, at, err := loadHandle(path)
	if err != nil {
		return nil, stamp{}, err
	}
	primary, err := handle.Primary()
	if err != nil {
		return nil, stamp{}, badKeyFile("The key file has no primary key.", err)
	}
	keys := &keySet{primary: localID(primary.KeyID()), byID: make(map[string]tink.AEAD)}
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, stamp{}, badKeyFile("The key file cannot be understood.", err)
		}
		if entry.KeyStatus() != keyset.Enabled {
			continue
		}
		if keys.byID[localID(entry.KeyID())], err = keyOf(handle, entry.KeyID()); err != nil {
			return nil, stamp{}, badKeyFile("The key file holds keys of another kind than AEAD.", err)
		}
	}
	return keys, at, nil
}

// keyOf returns one key of a keyset: the keyset itself with that key as the primary one.
func keyOf(handle *keyset.Handle, id uint32) (tink.AEAD, error) {
	m := keyset.NewManagerFromHandle(handle)
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("choose key %d: %w", id, err)
	}
	one, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("choose key %d: %w", id, err)
	}
	return aead.New(one)
}

func loadHandle(path string) (*keyset.Handle, stamp, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, stamp{}, fault.New(fault.Precondition, ReasonKeyMissing, "There is no key file.").Because(err)
	}
	if err != nil {
		return nil, stamp{}, badKeyFile(fmt.Sprintf("The key file %s cannot be read.", path), err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, stamp{}, badKeyFile(fmt.Sprintf("The key file has mode %04o: others may read it. Set it to 0600.", mode), nil)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, stamp{}, badKeyFile(fmt.Sprintf("The key file %s cannot be read.", path), err)
	}
	defer clear(raw)
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		// The parser's error may quote the file.
		return nil, stamp{}, badKeyFile("The key file is no Tink keyset in JSON, or is damaged: restore it from a backup.", nil)
	}
	return handle, stampOf(info), nil
}

// writeKeyFile writes a file of its own and then puts it in place in one step.
func writeKeyFile(path string, m *keyset.Manager, place func(from, to string) error) (err error) {
	handle, err := m.Handle()
	if err != nil {
		return fmt.Errorf("make the keyset: %w", err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return badKeyFile(fmt.Sprintf("The key file %s cannot be written.", path), err)
	}
	defer func() {
		if removeErr := os.Remove(f.Name()); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	err = insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(f))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return badKeyFile(fmt.Sprintf("The key file %s cannot be written.", path), err)
	}
	if err := place(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return badKeyFile("There is a key file already.", err)
	} else if err != nil {
		return badKeyFile(fmt.Sprintf("The key file %s cannot be written.", path), err)
	}
	return syncDir(dir)
}

// syncDir makes a new name in a directory survive a power cut: secrets are sealed with the key right after.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return badKeyFile("The key file's directory cannot be read.", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return badKeyFile("The key file's directory cannot be written.", err)
	}
	return nil
}

func addPrimary(m *keyset.Manager) error {
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return fmt.Errorf("make the new key primary: %w", err)
	}
	return nil
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.ModTime(), info.Size()} }

func localID(id uint32) string { return localPrefix + strconv.FormatUint(uint64(id), 10) }

func badKeyFile(public string, cause error) error {
	return fault.New(fault.Precondition, ReasonKeyFile, public).Because(cause)
}
