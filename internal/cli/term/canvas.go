package term

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Canvas rewrites some lines of a terminal in place.
type Canvas struct {
	w     io.Writer
	drawn int
}

// NewCanvas returns a canvas on a terminal.
func NewCanvas(w io.Writer) *Canvas { return &Canvas{w: w} }

// Show replaces the lines that were shown before.
func (c *Canvas) Show(lines []string) {
	var b strings.Builder
	if c.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", c.drawn) // ECMA-48 CUU
	}
	for _, l := range lines {
		b.WriteString(clearLine + l + "\n")
	}
	b.WriteString("\x1b[J") // ECMA-48 ED: what a longer picture left
	c.drawn = len(lines)
	fmt.Fprint(c.w, b.String())
}

// Rows returns the height of the terminal behind a stream, 24 when it reports none.
func Rows(v any) int {
	if f, ok := terminalFile(v); ok {
		if _, n, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 24
}

// HasColor reports whether a stream shows colours: a terminal, unless NO_COLOR is set
// (https://no-color.org) or the terminal is dumb.
func HasColor(v any) bool {
	return IsTerminal(v) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
