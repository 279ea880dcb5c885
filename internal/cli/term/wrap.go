package term

import (
	"strings"
	"unicode/utf8"
)

// Wrap breaks the paragraphs of a text that have a line of more than n cells, and
// leaves the others as they are. Paragraphs are separated by empty lines.
func Wrap(s string, n int) string {
	paragraphs := strings.Split(s, "\n\n")
	for i, p := range paragraphs {
		if lines := strings.Split(p, "\n"); maxWidth(lines) > n {
			paragraphs[i] = strings.Join(fill(join(lines), n), "\n")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func maxWidth(lines []string) int {
	widest := 0
	for _, l := range lines {
		widest = max(widest, Width(l))
	}
	return widest
}

// join undoes the line breaks of a paragraph. Chinese has no space between words.
func join(lines []string) string {
	text := ""
	for _, l := range lines {
		last, _ := utf8.DecodeLastRuneInString(text)
		first, _ := utf8.DecodeRuneInString(l)
		if text != "" && !isWide(last) && !isWide(first) {
			text += " "
		}
		text += l
	}
	return text
}

// fill breaks a text into lines of at most n cells, at spaces and between Chinese
// characters. A piece that is wider than n has a line of its own.
func fill(text string, n int) []string {
	var lines []string
	line := ""
	for _, piece := range pieces(text) {
		if line != "" && Width(line+strings.TrimRight(piece, " ")) > n {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
		}
		line += piece
	}
	return append(lines, strings.TrimRight(line, " "))
}

// Marks that must not begin a line, and those that must not end one (a part of the
// rules of W3C's "Requirements for Chinese Text Layout", 3.1.3).
const (
	notFirst = "。，、；：？！）》」』】”’…·.,;:?!)]}"
	notLast  = "（《「『【“‘([{"
)

// pieces cuts a text wherever a line may be broken. A space ends its piece.
func pieces(text string) []string {
	var all []string
	from, before := 0, rune(0)
	for i, r := range text {
		space := before == ' ' && r != ' '
		chinese := (isWide(before) || isWide(r)) && r != ' ' &&
			!strings.ContainsRune(notFirst, r) && !strings.ContainsRune(notLast, before)
		if i > 0 && (space || chinese) {
			all = append(all, text[from:i])
			from = i
		}
		before = r
	}
	return append(all, text[from:])
}
