// Package term writes to and reads from terminals.
//
// # Model
//
// [Escape] and [EscapeLines] make text from elsewhere (a job's output, a host
// name, a label) safe to show. [WriteTable] and [WriteFields] align cells by
// their width on the screen, [WriteJSON] and [WriteYAML] write structured output,
// [Progress] rewrites one line, and [Input] is a standard input whose reads end
// when the command is interrupted.
//
// # Invariants
//
//   - No text that passed through this package controls a terminal: control
//     characters and the characters that reorder or hide text come out as visible
//     escapes.
//   - JSON and YAML decode to the values that were encoded: the escapes are those
//     of the format.
package term

import (
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether v, a stream or an [Input], is a terminal.
func IsTerminal(v any) bool {
	_, ok := terminalFile(v)
	return ok
}

// terminalFile returns the terminal behind a stream.
func terminalFile(v any) (*os.File, bool) {
	if in, ok := v.(*Input); ok {
		v = in.Reader
	}
	f, ok := v.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// defaultWidth is assumed of a terminal that does not report its size.
const defaultWidth = 80

// Columns returns the width of the terminal behind a stream, and 0 when the
// stream is not a terminal.
func Columns(v any) int {
	f, ok := terminalFile(v)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return defaultWidth
	}
	return n
}
