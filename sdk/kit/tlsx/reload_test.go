// SPDX-License-Identifier: Apache-2.0

package tlsx

import (
	"crypto/x509"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// replace writes name in one step, as certificate tools do.
func replace(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".next", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".next", name); err != nil {
		t.Fatal(err)
	}
}

func serialOf(t *testing.T, m *material) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(m.cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.String()
}

func TestFilesAreReadAgainAtMostOnceASecond(t *testing.T) {
	first, second := issue(t), issue(t)
	var told []error
	first.files.OnReload = func(err error) { told = append(told, err) }
	c := &clock{t: time.Now()}
	s, err := newSource(first.files, c.now)
	if err != nil {
		t.Fatal(err)
	}
	is := func(step string, want issued, calls int) {
		t.Helper()
		if got := serialOf(t, s.get()); got != want.serial {
			t.Errorf("%s: serves %s, want %s", step, got, want.serial)
		}
		if len(told) != calls {
			t.Errorf("%s: told %d times (%v), want %d", step, len(told), told, calls)
		}
	}
	is("at the start", first, 0)

	replace(t, first.files.Cert, second.cert)
	is("changed within the second", first, 0)
	c.add(time.Second)
	is("certificate changed, key not yet", first, 1)
	if fault.From(told[0]).Reason != ReasonFiles {
		t.Errorf("told %v", told[0])
	}
	is("asked again within the second", first, 1)
	c.add(time.Second)
	is("still half changed", first, 2)

	replace(t, first.files.Key, second.key)
	replace(t, first.files.CA, second.ca)
	c.add(time.Second)
	is("all changed", second, 3)
	if told[2] != nil {
		t.Errorf("told %v after a good reading", told[2])
	}
	c.add(time.Hour)
	is("unchanged", second, 3)

	if err := os.Remove(first.files.CA); err != nil {
		t.Fatal(err)
	}
	c.add(time.Second)
	is("a file is gone", second, 4)
	if !errors.Is(told[3], os.ErrNotExist) {
		t.Errorf("told %v", told[3])
	}
	replace(t, first.files.CA, second.ca)
	c.add(time.Second)
	is("it is back", second, 5)
}

// Writing in place keeps the inode: size and time tell the change.
func TestFileWrittenInPlaceIsSeen(t *testing.T) {
	first, second := issue(t), issue(t)
	c := &clock{t: time.Now()}
	s, err := newSource(first.files, c.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{first.files.Cert: second.cert, first.files.Key: second.key, first.files.CA: second.ca} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Minute) // coarse file times must not decide the test
		if err := os.Chtimes(name, later, later); err != nil {
			t.Fatal(err)
		}
	}
	c.add(time.Second)
	if got := serialOf(t, s.get()); got != second.serial {
		t.Errorf("serves %s, want %s", got, second.serial)
	}
}

func TestHandshakesDoNotWaitForAReload(t *testing.T) {
	first, second := issue(t), issue(t)
	reading, finish := make(chan struct{}), make(chan struct{})
	first.files.OnReload = func(error) {
		close(reading)
		<-finish
	}
	c := &clock{t: time.Now()}
	s, err := newSource(first.files, c.now)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, first.files.Key, second.key) // does not belong to the certificate: stays first
	c.add(time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.get()
	}()
	<-reading
	c.add(time.Second) // the next look is due, and the one before has not ended
	if got := serialOf(t, s.get()); got != first.serial {
		t.Errorf("serves %s, want %s", got, first.serial)
	}
	close(finish)
	<-done
}
