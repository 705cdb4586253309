// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// Sizes of a plot in pixels.
const (
	plotLeft, plotTop      = 60, 70
	plotHeight             = 240
	barWidth, groupGap     = 46, 40
	plotBottom, legendLine = 60, 18
)

// plot draws CPU ÷ RP of one workload as an SVG: a group of bars per number of connections, a bar per system.
func plot(info *machine, rows []row) string {
	var groups []int
	var systems []string
	bars := map[string]row{}
	highest := 1.0
	for _, r := range rows {
		if math.IsNaN(r.CPURatio) || r.Void != "" {
			continue
		}
		groups, systems = appendNew(groups, r.Concurrency), appendNew(systems, r.System)
		bars[fmt.Sprint(r.System, r.Concurrency)] = r
		highest = max(highest, r.CPURatio)
	}
	highest = math.Ceil(highest*1.1*2) / 2
	groupWidth := len(systems)*barWidth + groupGap
	width := plotLeft + max(len(groups)*groupWidth, 680) + 20
	height := plotTop + plotHeight + plotBottom + legendLine*((len(systems)+3)/4)
	y := func(value float64) float64 { return plotTop + plotHeight*(1-value/highest) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	text(&b, plotLeft, 22, `font-size="15" font-weight="bold"`, "CPU time per call ÷ httputil.ReverseProxy: "+rows[0].Workload.Title)
	text(&b, plotLeft, 40, `fill="#666"`, fmt.Sprintf("%s, %d CPUs, %s, commit %s", info.CPU, info.CPUs, info.Go, info.Commit))
	text(&b, plotLeft, 56, `fill="#666"`, fmt.Sprintf("median of %d rounds of %d ms; lower is better", info.Rounds, info.DurationMS))
	step := math.Ceil(highest/8*2) / 2
	for value := 0.0; value <= highest; value += step {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, width-20, y(value), y(value))
		text(&b, plotLeft-8, y(value)+4, `text-anchor="end"`, fmt.Sprintf("%.1f", value))
	}
	for i, concurrency := range groups {
		left := plotLeft + groupGap/2 + i*groupWidth
		text(&b, float64(left)+float64(len(systems)*barWidth)/2, plotTop+plotHeight+20, `text-anchor="middle"`, connections(concurrency))
		for j, name := range systems {
			if r, ok := bars[fmt.Sprint(name, concurrency)]; ok {
				drawBar(&b, left+j*barWidth, y(r.CPURatio), y(0), color(j), r.CPURatio)
			}
		}
	}
	fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#222" stroke-dasharray="4 3"/>`+"\n", plotLeft, width-20, y(1), y(1))
	for j, name := range systems {
		x, line := plotLeft+j%4*120, plotTop+plotHeight+plotBottom-10+j/4*legendLine
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="11" height="11" fill="%s"/>`+"\n", x, line-10, color(j))
		text(&b, float64(x+16), float64(line), "", name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawBar draws one bar with its value on top.
func drawBar(b *strings.Builder, x int, top, bottom float64, fill string, value float64) {
	fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"/>`+"\n", x+3, top, barWidth-6, bottom-top, fill)
	text(b, float64(x)+barWidth/2, top-4, `text-anchor="middle" font-size="11"`, figure(value))
}

// text writes a text element; attributes are ours, the words may be anything.
func text(b *strings.Builder, x, y float64, attributes, words string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>`, x, y, attributes)
	_ = xml.EscapeText(b, []byte(words)) // a strings.Builder does not fail
	b.WriteString("</text>\n")
}

// color is the n-th system's.
func color(n int) string {
	colors := []string{"#9aa5b1", "#6b7c93", "#d98e48", "#2f6fde", "#3a9d6e", "#a457b8", "#c4483d", "#b59d2a"}
	return colors[n%len(colors)]
}

// appendNew appends what is not there yet.
func appendNew[T comparable](list []T, value T) []T {
	for _, have := range list {
		if have == value {
			return list
		}
	}
	return append(list, value)
}
