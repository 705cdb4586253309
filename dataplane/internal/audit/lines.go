// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// keepLines is how many files are kept beside the one that is written: FILE.1 is the newest of them.
const keepLines = 5

// lines is a file of JSON lines. It is one goroutine's.
type lines struct {
	path string
	most int64
	file *os.File
	size int64
}

func openLines(path string, most int64) (*lines, error) {
	l := &lines{path: path, most: most}
	return l, l.open()
}

func (l *lines) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return fmt.Errorf("open the audit file: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the audit file: %w", err), f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// add appends whole lines, and begins a new file before one would become larger than most.
func (l *lines) add(text []byte) error {
	if l.file == nil { // it could not be opened anew
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(len(text)) > l.most {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(text)
	l.size += int64(n)
	return err
}

func (l *lines) rotate() error {
	err := l.close()
	for n := keepLines; n > 0; n-- {
		from := l.path
		if n > 1 {
			from += "." + strconv.Itoa(n-1)
		}
		if e := os.Rename(from, l.path+"."+strconv.Itoa(n)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, l.open())
}

func (l *lines) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
