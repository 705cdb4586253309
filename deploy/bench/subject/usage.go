// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ticks is how many clock ticks /proc counts in a second: USER_HZ, 100 on every Linux architecture that Go runs on.
const ticks = 100

// Usage is what a process tree has used.
type Usage struct {
	CPU time.Duration // user and system time, of ended children too
	RSS int64         // bytes resident now
}

// process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	ticks       int64
	pages       int64
}

// UsageOf returns what a process and its descendants have used until now.
func UsageOf(pid int) (Usage, error) { return treeUsage(pid) }

// treeUsage sums up a process and its descendants.
func treeUsage(root int) (Usage, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return Usage{}, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]process{}
	var todo []process
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		p, err := parseStat(line)
		if err != nil {
			return Usage{}, fmt.Errorf("read %s: %w", file, err)
		}
		children[p.parent] = append(children[p.parent], p)
		if p.pid == root {
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return Usage{}, fmt.Errorf("process %d has ended", root)
	}
	var sum Usage
	for len(todo) > 0 {
		p := todo[0]
		todo = append(todo[1:], children[p.pid]...)
		sum.CPU += time.Duration(p.ticks) * time.Second / ticks
		sum.RSS += p.pages * int64(os.Getpagesize())
	}
	return sum, nil
}

// parseStat reads /proc/PID/stat, see proc_pid_stat(5). The second field is the command in parentheses and may hold anything.
func parseStat(line []byte) (process, error) {
	pid, rest, ok := bytes.Cut(line, []byte(" ("))
	end := bytes.LastIndexByte(rest, ')')
	if !ok || end < 0 {
		return process{}, fmt.Errorf("no command in %q", line)
	}
	fields := bytes.Fields(rest[end+1:]) // fields[0] is field 3
	const parent, utime, cstime, rss = 4 - 3, 14 - 3, 17 - 3, 24 - 3
	if len(fields) <= rss {
		return process{}, fmt.Errorf("%d fields in %q", len(fields), line)
	}
	var p process
	var err error
	number := func(field []byte) int64 {
		n, e := strconv.ParseInt(string(field), 10, 64)
		if e != nil {
			err = e
		}
		return n
	}
	p.pid, p.parent, p.pages = int(number(pid)), int(number(fields[parent])), number(fields[rss])
	for _, field := range fields[utime : cstime+1] { // utime stime cutime cstime
		p.ticks += number(field)
	}
	return p, err
}
