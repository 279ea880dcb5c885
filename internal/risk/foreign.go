package risk

import (
	"regexp"
	"slices"
	"strings"
)

// languages are interpreters of other languages than that of the shell. Their texts are
// not parsed: the strings in them are judged as if each were a command.
var languages = strings.Fields(`python python2 python3 perl ruby node nodejs php lua tclsh awk gawk mawk nawk
pwsh powershell R Rscript groovy scala deno bun go julia`)

// Script returns the command that runs a script with an interpreter; "" is sh. The text for
// an interpreter that is not known is taken for one of a shell.
func Script(
	path, interpreter, text string, args []string, env map[string]string, stdin string,
) Command {
	c := Command{Path: path, Kind: Shell, Text: text, Args: args, Env: env, Stdin: stdin}
	if slices.Contains(languages, programName(interpreter)) {
		c.Kind = Foreign
	}
	return c
}

// languageText evaluates python -c TEXT, perl -e TEXT, awk TEXT, and a text that is read.
func languageText(j *judge, st *shell, args []string, in string, at pos) string {
	for _, a := range args {
		if strings.ContainsAny(a, "'\"(` ") {
			j.foreign(a, st, at)
		}
		if text, ok := st.files[cleanPath(a, st.cwd)]; ok {
			j.foreign(text, st, at)
		}
	}
	if in != unknown && (len(args) == 0 || slices.Contains(args, "-")) {
		if onlyUnknown(in) && origin(in) != unknown {
			j.unknownText(in, at)
		}
		j.foreign(in, st, at)
	}
	return unknown
}

var (
	// literal finds strings, and those of a list one after another.
	literal = regexp.MustCompile(`"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|` + "`([^`]*)`" + `|q[qxw]?[({/]([^)}/]*)[)}/]`)
	between = regexp.MustCompile(`^[\s,]+$`)
	// removes finds calls that remove a folder with all that is in it.
	removes = regexp.MustCompile(`(?i)\b(?:rmtree|remove_tree|rm_rf|rm_r|rmSync|rimraf|RemoveAll|remove_dir_all)\b[^\n"']{0,40}["']([^"'\n]*)["']`)
	// disks finds files that are opened to be written.
	writes = regexp.MustCompile(`\bopen(?:Sync)?\s*\(\s*["'](/dev/[^"'\n]*)["']\s*,\s*["'][^"'\n]*[wa+]`)
	// forkLoop finds endless loops that fork.
	forkLoop = regexp.MustCompile(`(?i)\bfork\s+while\b|while\b[^\n]{0,40}\n?[^\n]{0,40}\bfork\b`)
)

// maxLiterals is how many strings of a text are looked at.
const maxLiterals = 5000

// foreign judges the text of another language.
func (j *judge) foreign(text string, st *shell, at pos) {
	if !j.budget.take(text) {
		j.report(TooComplex, at, "", true)
		return
	}
	j.report(UnknownCommand, at, text, false)
	if m := forkLoop.FindString(text); m != "" {
		j.report(ForkBomb, at, m, true)
	}
	for _, m := range removes.FindAllStringSubmatch(text, maxLiterals) {
		j.match("rm", []string{"-rf", m[1]}, st.cwd, at, m[0])
	}
	for _, m := range writes.FindAllStringSubmatch(text, maxLiterals) {
		j.match(">", []string{m[1]}, st.cwd, at, m[0])
	}
	var list []string
	end := -1
	flush := func() {
		if len(list) > 1 {
			j.exec(st.child(), list, unknown, at)
		}
		list = nil
	}
	for _, m := range literal.FindAllStringSubmatchIndex(text, maxLiterals) {
		value := ""
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				value = text[m[g]:m[g+1]]
			}
		}
		if end < 0 || !between.MatchString(text[end:m[0]]) {
			flush()
		}
		list, end = append(list, value), m[1]
		if strings.Contains(strings.TrimSpace(value), " ") || strings.HasPrefix(value, ">") {
			inner := *j // its own findings of what is not known are no news
			inner.shellText(value, st.child(), unknown, at)
			j.findings = inner.findings
		}
	}
	flush()
}
