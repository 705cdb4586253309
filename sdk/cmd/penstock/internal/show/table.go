// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Table writes rows in aligned columns below a header. Cells are made safe for a terminal.
func Table(w io.Writer, header []string, rows [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = Safe(c)
		}
		if _, err := io.WriteString(t, strings.Join(cells, "\t")+"\n"); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) { // an empty last cell leaves blanks
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Columns writes rows that come a few at a time, without a header, in columns of fixed widths; a longer cell moves those after it.
func Columns(w io.Writer, widths []int, rows [][]string) error {
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, c := range row {
			line += Safe(c)
			if i < len(row)-1 {
				line += strings.Repeat(" ", max(widths[i]-len([]rune(Safe(c))), 0)+2)
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Safe returns text on one line without what a terminal would act on.
func Safe(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}

// orDash is what an empty cell shows.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().UTC().Format(time.DateTime) + "Z"
}

func span(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return d.AsDuration().String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func number[N int | uint32](n N) string { return strconv.FormatInt(int64(n), 10) }
