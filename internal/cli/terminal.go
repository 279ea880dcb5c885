package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// clean makes text from elsewhere harmless on a terminal and keeps it on one
// line: control characters (C0, DEL, C1), invalid bytes, and the characters that
// reorder or hide text (Unicode TR 36, "Trojan Source") become visible escapes.
func clean(s string) string { return escape(s, func(rune) bool { return false }) }

// cleanText is clean for text of several lines, such as a job's output.
func cleanText(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

func escape(s string, keep func(rune) bool) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r) // it stands in the text, for a byte lost earlier
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case keep(r) || !harmful(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// harmful: controls, format characters (bidi controls, zero-width, tags) and
// the line separators. The joiners that Indic scripts and emoji need stay.
func harmful(r rune) bool {
	if r == utf8.RuneError {
		return true // maybe an invalid byte
	}
	if r == '\u200c' || r == '\u200d' {
		return false
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}

// columns is how many cells of a terminal the text takes (UAX #11).
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case wide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func wide(r rune) bool {
	k := width.LookupRune(r).Kind()
	return k == width.EastAsianWide || k == width.EastAsianFullwidth
}

// cut shortens text to so many columns, with "…" for what is left out.
func cut(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		w := columns(string(r))
		if n+w > most-1 {
			return s[:i] + "…"
		}
		n += w
	}
	return s
}

func isTerminal(v any) bool {
	if in, ok := v.(*input); ok {
		v = in.Reader
	}
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is the width of the terminal behind w; 0 when there is none.
func terminalWidth(w any) int {
	if !isTerminal(w) {
		return 0
	}
	n, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 80
	}
	return n
}

// writeTable writes rows below a head, two spaces between the columns. The rows
// are cleaned here.
func writeTable(w io.Writer, head []string, rows [][]string) error {
	all := append([][]string{head}, rows...)
	widths := make([]int, len(head))
	for i, row := range all {
		for j, cell := range row {
			all[i][j] = clean(cell)
			widths[j] = max(widths[j], columns(all[i][j]))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[j]-columns(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
