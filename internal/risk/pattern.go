package risk

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"hostler.dev/hostler"
)

// match is how far a value matches a pattern.
type match int

const (
	no    match = iota
	maybe       // depends on what is not known
	yes
)

// pattern is a compiled pattern of a rule.
type pattern struct {
	rule  *rule
	words []patternWord
}

// patternWord is one word of a pattern: alternatives.
type patternWord struct {
	alternatives []alternative
	option, not  bool
}

type alternative struct {
	text  string // an option, or a glob before the class
	class string // name in [classes]
	abbr  int    // bytes that an abbreviation must have; 0: no abbreviation
}

func compileAll(
	r *rule, field string, texts []string, parse func(string) ([]patternWord, error),
) ([]*pattern, error) {
	out := make([]*pattern, len(texts))
	for i, text := range texts {
		words, err := parse(text)
		if bad, ok := errors.AsType[*patternError](err); ok {
			return nil, hostler.Invalid(fmt.Sprintf("%s[%d]", field, i), "%[1]s", "%[2]s", bad.EN, bad.ZH)
		} else if err != nil {
			return nil, err
		}
		out[i] = &pattern{rule: r, words: words}
	}
	return out, nil
}

// patternError is why a pattern is not valid.
type patternError struct{ hostler.Text }

func (e *patternError) Error() string { return e.EN }

func badPattern(en, zh string, args ...any) error {
	return &patternError{hostler.Textf(en, zh, args...)}
}

// Limits of a pattern.
const (
	maxPatternWords = 20
	maxPatternBytes = 500
)

func splitPattern(text string) ([]string, error) {
	words := strings.Fields(text)
	switch {
	case len(text) > maxPatternBytes || len(words) > maxPatternWords:
		return nil, badPattern("must have at most %d words and %d bytes", "最多 %d 个词、%d 字节",
			maxPatternWords, maxPatternBytes)
	case len(words) == 0:
		return nil, badPattern("must name a program or a command", "须指定程序或命令")
	case strings.HasPrefix(words[0], "!") || strings.HasPrefix(words[0], "-"):
		return nil, badPattern("must begin with a program or a command", "须以程序或命令开头")
	case strings.Trim(words[0], "*?|~") == "":
		return nil, badPattern("would match every command: begin with a program", "会匹配所有命令：请以程序名开头")
	}
	return words, nil
}

func parseCommand(text string) ([]patternWord, error) {
	words, err := splitPattern(text)
	if err != nil {
		return nil, err
	}
	out := make([]patternWord, len(words))
	for i, w := range words {
		w, out[i].not = strings.CutPrefix(w, "!")
		out[i].option = strings.HasPrefix(w, "-")
		for alt := range strings.SplitSeq(w, "|") {
			if strings.HasPrefix(alt, "-") != out[i].option {
				return nil, badPattern("the word %q mixes options with other words", "词 %q 混用了选项与其他词", w)
			}
			a, err := parseAlternative(alt)
			if err != nil {
				return nil, err
			}
			if !out[i].option {
				a.text = strings.ToLower(a.text)
			}
			out[i].alternatives = append(out[i].alternatives, a)
		}
	}
	return out, nil
}

func parseAlternative(alt string) (alternative, error) {
	before, rest, found := strings.Cut(alt, "{")
	if !found {
		if alt == "" {
			return alternative{}, badPattern("has an empty alternative", "含空的备选项")
		}
		return alternative{text: alt}, nil
	}
	class, ok := strings.CutSuffix(rest, "}")
	if !ok || classes[class] == nil {
		return alternative{}, badPattern("%q is not a class; there are %s", "%q 不是类别；可用 %s", "{"+rest, classNames())
	}
	return alternative{text: before, class: class}, nil
}

func parseDevice(text string) ([]patternWord, error) {
	words, err := splitPattern(text)
	if err != nil {
		return nil, err
	}
	out := make([]patternWord, len(words))
	for i, w := range words {
		w, out[i].not = strings.CutPrefix(w, "!")
		for alt := range strings.SplitSeq(w, "|") {
			head, tail, abbreviated := strings.Cut(strings.ToLower(alt), "~")
			if head == "" {
				return nil, badPattern("has an empty alternative", "含空的备选项")
			}
			a := alternative{text: head + tail}
			if abbreviated {
				a.abbr = len(head)
			}
			out[i].alternatives = append(out[i].alternatives, a)
		}
	}
	return out, nil
}

// programs returns the names by which the pattern is indexed.
func (p *pattern) programs() []string {
	var out []string
	for _, a := range p.words[0].alternatives {
		name := a.text
		if strings.ContainsAny(name, "*?[") || a.class != "" {
			name = ""
		}
		out = append(out, name)
	}
	return out
}

// matchCommand matches an argv whose program is already without its folder.
func (p *pattern) matchCommand(program string, args []string, cwd string) match {
	result := matchAny(p.words[0], program, cwd)
	next := 0
	for _, w := range p.words[1:] {
		var m match
		switch {
		case w.not:
			m = yes
			for _, a := range args {
				if w.option && matchOption(w, a) == yes || !w.option && matchAny(w, a, cwd) == yes {
					m = no
				}
			}
		case w.option:
			for _, a := range args {
				m = max(m, matchOption(w, a))
			}
		default:
			m, next = nextWord(w, args, next, cwd)
		}
		if result = min(result, m); result == no {
			return no
		}
	}
	return result
}

// nextWord finds the best match of a word from an index on, and the index after it.
func nextWord(w patternWord, args []string, from int, cwd string) (best match, next int) {
	next = len(args)
	for i := from; i < len(args); i++ {
		if m := matchAny(w, args[i], cwd); m > best {
			best, next = m, i+1
			if m == yes {
				break
			}
		}
	}
	return best, next
}

func matchAny(w patternWord, value, cwd string) (best match) {
	for _, a := range w.alternatives {
		best = max(best, a.match(value, cwd))
	}
	return best
}

func (a alternative) match(value, cwd string) match {
	if a.class == "" {
		return matchGlob(a.text, strings.ToLower(value))
	}
	if a.text != "" {
		rest, ok := strings.CutPrefix(value, a.text)
		if !ok {
			return no
		}
		value = rest
	}
	if a.text == "" && strings.HasPrefix(value, "-") {
		return no
	}
	return classes[a.class](value, cwd)
}

// matchGlob matches a value with a glob. Unknown parts of the value may be anything.
func matchGlob(glob, value string) match {
	if !hasUnknown(value) {
		if globMatch(glob, value) {
			return yes
		}
		return no
	}
	first := strings.IndexFunc(value, isUnknown)
	last := strings.LastIndexFunc(value, isUnknown)
	head, tail := value[:first], value[last+1:]
	if star := strings.IndexAny(glob, "*?"); star >= 0 {
		if strings.HasPrefix(glob[:star], head) || strings.HasPrefix(head, glob[:star]) {
			return maybe
		}
		return no
	}
	if len(head)+len(tail) <= len(glob) && strings.HasPrefix(glob, head) && strings.HasSuffix(glob, tail) {
		return maybe
	}
	return no
}

// globMatch matches * with any text and ? with any byte, in time linear in both for each
// star.
func globMatch(glob, s string) bool {
	g, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, mark = g, i
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == s[i]):
			g, i = g+1, i+1
		case star >= 0:
			mark++
			g, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// minLong is how many letters of a long option must be given.
const minLong = 3

// matchOption matches an argument with options: in a bundle, abbreviated, or with a value.
func matchOption(w patternWord, arg string) match {
	if hasUnknown(arg) && (arg[0] == '-' || isUnknown(rune(arg[0]))) {
		return maybe
	}
	if len(arg) < 2 || arg[0] != '-' {
		return no
	}
	for _, a := range w.alternatives {
		long := strings.HasPrefix(a.text, "--")
		switch {
		case strings.Contains(a.text, "*"):
			if globMatch(a.text, arg) {
				return yes
			}
		case long && strings.HasPrefix(arg, "--"):
			name, _, _ := strings.Cut(arg, "=")
			if name == a.text || len(name) >= 2+minLong && strings.HasPrefix(a.text, name) {
				return yes
			}
		case !long && len(a.text) == 2 && !strings.HasPrefix(arg, "--") && a.text[1] >= 'A':
			if strings.Contains(arg, a.text[1:]) {
				return yes
			}
		case a.text == arg:
			return yes
		}
	}
	return no
}

// matchLine matches the words of a line on a device.
func (p *pattern) matchLine(words []string, abbreviations bool) bool {
	next := 0
	for _, w := range p.words {
		if w.not {
			for _, given := range words {
				if w.matchDevice(given, abbreviations) {
					return false
				}
			}
			continue
		}
		switch w.alternatives[0].text {
		case "$":
			return next == len(words)
		case "...":
			continue
		}
		if next >= len(words) || !w.matchDevice(words[next], abbreviations) {
			return false
		}
		next++
	}
	return true
}

func (w patternWord) matchDevice(given string, abbreviations bool) bool {
	for _, a := range w.alternatives {
		if globMatch(a.text, given) {
			return true
		}
		if abbreviations && a.abbr > 0 && len(given) >= a.abbr && strings.HasPrefix(a.text, given) {
			return true
		}
	}
	return false
}

// cleanPath returns the absolute form of a path, as far as the working directory is known.
func cleanPath(p, cwd string) string {
	if p == "" {
		return ""
	}
	if !strings.HasPrefix(p, "/") && !isUnknown(rune(p[0])) {
		p = cwd + "/" + p
	}
	return path.Clean(p)
}
