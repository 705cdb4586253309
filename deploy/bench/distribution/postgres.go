// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
)

// postgres is a PostgreSQL of the measurement's own, with its usual care for the disk.
type postgres struct {
	*proc.Process

	bin, port string
}

// startPostgres starts it on the data in the folder, which is made if there is none.
func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("there is no PostgreSQL; install it with: apt-get install postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	p := &postgres{bin: filepath.Dir(found[len(found)-1])}
	home := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	who, err := unprivileged(dir, home)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(home, "data")
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
			"--locale=C.UTF-8", "--no-instructions")
		cmd.Dir, cmd.SysProcAttr = home, &syscall.SysProcAttr{Credential: who}
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	address, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	if _, p.port, err = net.SplitHostPort(address); err != nil {
		return nil, err
	}
	p.Process, err = proc.Options{User: who}.Start(home, "postgres", filepath.Join(p.bin, "postgres"), "-D", data, "-p", p.port,
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "track_commit_timestamp=on", "-c", "max_wal_size=4GB")
	if err != nil {
		return nil, err
	}
	return p, p.Until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		_, err := p.query(ctx, "SELECT 1")
		return err
	})
}

// version reads the number in /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// unprivileged is somebody else where this program runs as root, which PostgreSQL refuses; home is given to them, and the
// way to it opened.
func unprivileged(dir, home string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr, os.Chmod(dir, 0o711), os.Chown(home, int(uid), int(gid))); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func (p *postgres) url() string {
	return "postgres://postgres@127.0.0.1:" + p.port + "/postgres?sslmode=disable"
}

// query returns the lines of an answer, fields separated by spaces.
func (p *postgres) query(ctx context.Context, sql string) ([]string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "psql"), "-X", "-A", "-t", "-F", " ", "-h", "127.0.0.1", "-p", p.port,
		"-U", "postgres", "-c", sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("query: %w: %s", err, out)
	}
	return strings.Fields(string(out)), nil
}

// commits returns when each revision above from was committed, in nanoseconds since 1970.
func (p *postgres) commits(ctx context.Context, from uint64) (map[uint64]int64, error) {
	words, err := p.query(ctx, fmt.Sprintf(
		"SELECT revision, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM controlplane.change WHERE revision > %d", from))
	if err != nil {
		return nil, err
	}
	at := make(map[uint64]int64, len(words)/2)
	for pair := range slices.Chunk(words, 2) {
		if len(pair) != 2 {
			return nil, fmt.Errorf("commit times: %d words", len(words))
		}
		revision, revisionErr := strconv.ParseUint(pair[0], 10, 64)
		micros, microsErr := strconv.ParseInt(pair[1], 10, 64)
		if err := errors.Join(revisionErr, microsErr); err != nil {
			return nil, fmt.Errorf("commit times: %w", err)
		}
		at[revision] = micros * 1000
	}
	return at, nil
}
