// SPDX-License-Identifier: Apache-2.0

package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonInvalid: the password cannot be one (Invalid).
	ReasonInvalid = "PASSWORD_INVALID"
	// ReasonBusy: too many passwords are worked on (Unavailable).
	ReasonBusy = "PASSWORD_CHECK_BUSY"
)

// Bounds of a password, in characters: long enough to be guessed by nobody who has to wait between attempts, short enough to
// be no way to make the server work.
const (
	MinLength = 12
	MaxLength = 256
)

// Params are the cost of a hash.
type Params struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// Defaults returns the second recommendation of RFC 9106 §4 (64 MiB, 3 passes) with one thread in place of four: a login waits
// longer for it, 0.1 to 0.2 s, and many at once do not take each other's cores.
func Defaults() Params { return Params{Memory: 64 << 10, Passes: 3, Threads: 1} }

const (
	saltBytes = 16
	keyBytes  = 32

	// mostAtOnce bounds the memory of hashing together with Params.Memory: 256 MiB.
	mostAtOnce = 4
	// mostWaiting bounds the queue in front, longestWait the time in it.
	mostWaiting = 64
	longestWait = 5 * time.Second
)

// Hasher makes and checks hashes. It is safe for concurrent use.
type Hasher struct {
	params  Params
	slots   chan struct{}
	waiting atomic.Int64
}

// New returns a hasher; the zero value of Params means [Defaults].
func New(p Params) (*Hasher, error) {
	if p == (Params{}) {
		p = Defaults()
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &Hasher{params: p, slots: make(chan struct{}, min(runtime.GOMAXPROCS(0), mostAtOnce))}, nil
}

// Prepare brings a password into the form that is hashed: Unicode NFC, so that it does not matter which keyboard it is typed
// on (RFC 8265 §4.2). It does not check anything: what is typed at a login is only compared.
func Prepare(password string) string { return norm.NFC.String(password) }

// Check returns Invalid PASSWORD_INVALID for a prepared password that cannot be set.
func Check(password string) error {
	problem := ""
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		problem = "is not UTF-8"
	case n < MinLength:
		problem = fmt.Sprintf("is shorter than %d characters", MinLength)
	case n > MaxLength:
		problem = fmt.Sprintf("is longer than %d characters", MaxLength)
	default:
		for _, r := range password {
			if unicode.IsControl(r) {
				problem = "has a control character"
			}
		}
	}
	if problem == "" {
		return nil
	}
	return fault.New(fault.Invalid, ReasonInvalid, "The password "+problem+".").At("password", problem)
}

// Hash returns a new hash of a prepared password, for example "$argon2id$v=19$m=65536,t=3,p=1$<salt>$<key>".
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: the runtime ends the process instead
	key, err := h.derive(ctx, password, salt, h.params, keyBytes)
	if err != nil {
		return "", err
	}
	return format(h.params, salt, key), nil
}

// Verify reports whether a hash is that of a prepared password. An empty hash is that of no password and takes as long as any
// other, so that time does not tell whether there is one (RL-5).
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (bool, error) {
	p, salt, want := h.params, make([]byte, saltBytes), make([]byte, keyBytes)
	if encoded != "" {
		var err error
		if p, salt, want, err = parse(encoded); err != nil {
			return false, err
		}
	}
	got, err := h.derive(ctx, password, salt, p, len(want))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && encoded != "", nil
}

// derive waits for a slot and works. The faults are Unavailable PASSWORD_CHECK_BUSY and those of an ended ctx.
func (h *Hasher) derive(ctx context.Context, password string, salt []byte, p Params, length int) ([]byte, error) {
	if len(password) > utf8.UTFMax*MaxLength { // cannot be right, and need not be worked on in full
		password = password[:utf8.UTFMax*MaxLength] + "\x00"
	}
	select {
	case h.slots <- struct{}{}:
	default:
		if err := h.wait(ctx); err != nil {
			return nil, err
		}
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, p.Passes, p.Memory, p.Threads, uint32(length)), nil
}

func (h *Hasher) wait(ctx context.Context) error {
	busy := fault.New(fault.Unavailable, ReasonBusy, "Too many people are logging in at this moment.").After(longestWait)
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > mostWaiting {
		return busy
	}
	t := time.NewTimer(longestWait)
	defer t.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-t.C:
		return busy
	case <-ctx.Done():
		return fmt.Errorf("wait for other passwords: %w", ctx.Err())
	}
}

// check keeps a stored hash from costing any amount of memory or time.
func (p Params) check() error {
	const maxMemory, maxPasses, maxThreads = 1 << 20, 64, 16
	if p.Threads < 1 || p.Threads > maxThreads || p.Passes < 1 || p.Passes > maxPasses ||
		p.Memory < 8*uint32(p.Threads) || p.Memory > maxMemory {
		return errors.New("the cost of the password hash is out of bounds")
	}
	return nil
}
