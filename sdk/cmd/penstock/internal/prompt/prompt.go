// SPDX-License-Identifier: Apache-2.0

package prompt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// maxBytes bounds what is read: a password has at most 256 characters.
	maxBytes = 4096
	// restoreTime is how long the terminal may take to show again what is typed.
	restoreTime = 5 * time.Second
)

// Errors of [Password].
var (
	// ErrTooLong: there are more than 4,096 bytes.
	ErrTooLong = errors.New("the password is too long")
	// ErrDiffer: the two times it was typed were not the same.
	ErrDiffer = errors.New("the two passwords differ; nothing was changed")
)

// Password reads a password. From a terminal it is one line, asked for twice with the question, for example "Password of
// ada@example.com", and not shown while it is typed. From anything else it is all there is, without one line break at the
// end. An empty password is no error.
func Password(ctx context.Context, in io.Reader, out io.Writer, question string) (string, error) {
	file, ok := in.(*os.File)
	if !ok {
		return piped(in)
	}
	saved, err := stty(ctx, file, "-g")
	if err != nil { // not a terminal, or a system without stty: then nothing is asked for
		return piped(in)
	}
	if _, err := stty(ctx, file, "-echo"); err != nil {
		return "", fmt.Errorf("hide what is typed: %w", err)
	}
	defer func() {
		// Also after an interrupt, when ctx has ended: a terminal that stays silent is of no use.
		restoring, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
		defer cancel()
		_, _ = stty(restoring, file, strings.TrimSpace(saved))
		_, _ = fmt.Fprintln(out)
	}()
	lines := bufio.NewReader(io.LimitReader(file, 2*maxBytes))
	first, err := ask(ctx, lines, out, question+": ")
	if err != nil {
		return "", err
	}
	second, err := ask(ctx, lines, out, "\nAgain: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", ErrDiffer
	}
	return first, nil
}

// piped reads a password that nobody types.
func piped(in io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if len(data) > maxBytes {
		return "", ErrTooLong
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))), nil
}

// ask reads one line. An interrupt ends the wait; the goroutine that reads ends with the process.
func ask(ctx context.Context, lines *bufio.Reader, out io.Writer, question string) (string, error) {
	if _, err := fmt.Fprint(out, question); err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	type answer struct {
		line string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := lines.ReadString('\n')
		typed <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-typed:
		if a.err != nil {
			return "", fmt.Errorf("read the password: %w", a.err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(a.line, "\n"), "\r"), nil
	}
}

// stty reads or changes the settings of a terminal. It is the one way that needs no code for each system.
func stty(ctx context.Context, terminal *os.File, setting string) (string, error) {
	cmd := exec.CommandContext(ctx, "stty", setting)
	cmd.Stdin = terminal
	out, err := cmd.Output()
	return string(out), err
}
