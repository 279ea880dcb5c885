package main

import (
	"bytes"
	"fmt"
	"html"
)

// plot draws the medians as bars, with the spread of the rounds.
func plot(r *result) []byte {
	const left, width, row, top = 250, 420, 26, 46
	most := 1.0
	for _, c := range r.Queues {
		for _, rate := range c.Rates {
			most = max(most, rate)
		}
	}
	at := func(rate float64) float64 { return left + width*rate/most }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="20" font-weight="bold">Durable jobs per second, median and spread</text>
<text x="10" y="36" font-size="11" fill="#555">%s, %s. Pale: fsync every second only.</text>
`, left+width+90, top+row*len(r.Queues)+10, html.EscapeString(r.Machine), r.Date)
	for i, c := range r.Queues {
		y := top + row*i
		colour := "#2563eb"
		if c.Durability != fsynced {
			colour = "#bfd3f7"
		}
		low, high := at(c.Rates[0]), at(c.Rates[0])
		for _, rate := range c.Rates {
			low, high = min(low, at(rate)), max(high, at(rate))
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>
<rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/>
<path d="M%.1f %dH%.1f" stroke="#111"/>
<text x="%.1f" y="%d">%.0f</text>
`, left-8, y+14, html.EscapeString(c.Name), left, y+2, at(c.Median)-left, colour, low, y+10, high, high+6, y+14, c.Median)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
