// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of the plot in pixels.
const (
	plotLeft, plotTop     = 60, 64
	plotWidth, plotHeight = 640, 240
)

// plot draws which share of the changes was enforced on every node after how long, as an SVG.
func (r *result) plot() string {
	longest := max(r.Steady.Max, r.Denial.Max, 1)
	y := func(share float64) float64 { return plotTop + plotHeight*(1-share) }
	x := func(ms float64) float64 { return plotLeft + plotWidth*math.Log10(1+ms)/math.Log10(1+longest) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="#222">`+"\n",
		plotLeft+plotWidth+40, plotTop+plotHeight+70)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	label := func(x, y float64, attributes, words string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, words)
	}
	label(plotLeft, 22, `font-size="15" font-weight="bold"`, "Share of changes enforced on every node, by time since the commit")
	label(plotLeft, 42, `fill="#666"`, fmt.Sprintf("%d nodes; %s; %d CPUs for everything; %s", r.Nodes, r.Catalogue, r.CPUs, r.Go))
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, plotLeft+plotWidth, y(share), y(share))
		label(plotLeft-8, y(share)+4, `text-anchor="end"`, fmt.Sprintf("%.0f%%", share*100))
	}
	for ms := 1.0; ms <= longest; ms *= 10 {
		label(x(ms), plotTop+plotHeight+18, `text-anchor="middle"`, fmt.Sprintf("%.0f ms", ms))
	}
	for i, c := range []struct {
		name, color string
		of          distribution
	}{{"one tool, steady", "#2f6fde", r.Steady}, {"denial during the burst", "#d98e48", r.Denial}} {
		var points []string
		for n, ms := range c.of.Values {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(max(0, ms)), y(float64(n+1)/float64(c.of.Count))))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+"\n", c.color, strings.Join(points, " "))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="11" height="11" fill="%s"/>`+"\n", plotLeft+i*240, plotTop+plotHeight+38, c.color)
		label(plotLeft+16+float64(i)*240, plotTop+plotHeight+48, "", fmt.Sprintf("%s: p50 %.0f, p99 %.0f ms", c.name, c.of.P50, c.of.P99))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
