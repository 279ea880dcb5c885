package risk

import (
	"strings"
	"unicode/utf8"
)

// A value is a string in which a marker stands for a part that is not known. Commands
// cannot contain these bytes. The marker tells where the part comes from.
const (
	unknown    = "\x00"
	downloaded = "\x03" // printed by a program that downloads
	decoded    = "\x04" // printed by a decoder
)

// Marks inside of words while they are evaluated.
const (
	fieldBreak = "\x01" // an expansion is split here
	emptyQuote = "\x02" // quotes with nothing in them, which make a word
)

// sourceOf spells the markers as expansions, for a value that is parsed as a text.
var sourceOf = strings.NewReplacer(unknown, "${__unknown}", downloaded, "${__downloaded}", decoded, "${__decoded}")

// valueOf is the inverse of sourceOf.
var valueOf = strings.NewReplacer("${__unknown}", unknown, "${__downloaded}", downloaded, "${__decoded}", decoded)

func isUnknown(r rune) bool { return r == 0 || r == 3 || r == 4 }

func hasUnknown(s string) bool { return strings.ContainsAny(s, unknown+downloaded+decoded) }

func withoutUnknown(s string) string {
	return strings.Map(func(r rune) rune {
		if isUnknown(r) {
			return -1
		}
		return r
	}, s)
}

// origin returns the marker for something that is made of a value in a way that is not
// computed.
func origin(s string) string {
	switch {
	case strings.Contains(s, downloaded):
		return downloaded
	case strings.Contains(s, decoded):
		return decoded
	}
	return unknown
}

// onlyUnknown reports whether nothing of a value is known.
func onlyUnknown(s string) bool { return hasUnknown(s) && strings.TrimSpace(withoutUnknown(s)) == "" }

// limited returns a value, or a marker for one that is too long.
func limited(s string, most int) string {
	if len(s) > most {
		return origin(s)
	}
	return s
}

// display shows a command in one line.
func display(s string) string {
	s = strings.Join(strings.Fields(strings.NewReplacer(unknown, "…", downloaded, "…", decoded, "…").Replace(s)), " ")
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// cross appends each of the endings to each of the values. What is over the limit of
// choices becomes one unknown value.
func cross(values, endings []string) []string {
	if len(values)*len(endings) > maxChoices {
		return []string{origin(strings.Join(values, "") + strings.Join(endings, ""))}
	}
	out := make([]string, 0, len(values)*len(endings))
	for _, v := range values {
		for _, e := range endings {
			out = append(out, limited(v+e, maxValue))
		}
	}
	return out
}
