package risk

import (
	"encoding/base64"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// call evaluates a simple command: its assignments, then each argv that its words may be.
func (e *evaluation) call(c *syntax.CallExpr, st *shell, in string) string {
	for _, a := range c.Assigns {
		e.assign(a, st)
	}
	if len(c.Args) == 0 {
		return ""
	}
	if len(c.Args) > maxWords {
		e.report(TooComplex, e.pos(c), "", true)
		return unknown
	}
	argvs := [][]string{nil}
	for _, w := range c.Args {
		argvs = crossFields(argvs, e.fields(w, st))
	}
	var out string
	for _, argv := range argvs {
		out = e.exec(st, argv, in, e.pos(c))
	}
	if len(argvs) > 1 {
		return origin(out)
	}
	return out
}

// crossFields appends to each argv each list of fields. Over the limit of choices, the
// first are kept: the word that makes them too many becomes unknown.
func crossFields(argvs, lists [][]string) [][]string {
	if len(argvs)*len(lists) > maxChoices {
		lists = [][]string{{unknown}}
	}
	if len(lists) == 1 {
		for i := range argvs {
			argvs[i] = append(argvs[i], lists[0]...)
		}
		return argvs
	}
	out := make([][]string, 0, len(argvs)*len(lists))
	for _, argv := range argvs {
		for _, l := range lists {
			out = append(out, slices.Concat(argv, l))
		}
	}
	return out
}

// exec evaluates a program with its arguments, and returns what it prints.
func (j *judge) exec(st *shell, argv []string, in string, at pos) string {
	if len(argv) == 0 {
		return ""
	}
	if !j.budget.steps(1+len(argv)/stepWords) || j.wrapped >= maxWrapped {
		j.report(TooComplex, at, argv[0], true)
		return unknown
	}
	j.wrapped++
	defer func() { j.wrapped-- }()
	if onlyUnknown(argv[0]) {
		return j.execUnknown(st, argv, in, at)
	}
	if body, ok := st.funcs[argv[0]]; ok && j.calls < maxCalls {
		return j.function(st, body, argv, in, at)
	}
	program, args := programName(argv[0]), argv[1:]
	j.match(program, args, st.cwd, at, strings.Join(argv, " "))
	j.deviceWords(argv, at, false)
	j.readsRisk(program, args, in, st, at)
	if b, ok := builtins[program]; ok {
		return b(j, st, args, in, at)
	}
	if slices.Contains(shells, program) {
		return j.shellProgram(st, args, in, at)
	}
	if w, ok := wrappers[program]; ok {
		return w.run(j, st, args, in, at)
	}
	if f, ok := filters[program]; ok {
		return f(j, st, args, in)
	}
	return unknown
}

// programName returns the name of a program without its folder.
func programName(word string) string {
	name := path.Base(word)
	if hasUnknown(name) && !onlyUnknown(name) {
		return name
	}
	return strings.TrimSuffix(name, ".exe")
}

// execUnknown evaluates a command whose program is not known. It may be a wrapper such as
// $SUDO, so that the arguments are a command.
func (j *judge) execUnknown(st *shell, argv []string, in string, at pos) string {
	j.unknownText(argv[0], at)
	if len(argv) > 1 && argv[1] != "" && !strings.HasPrefix(argv[1], "-") {
		j.exec(st, argv[1:], in, at)
	}
	return origin(argv[0])
}

// function evaluates the body of a function with the parameters of a call.
func (j *judge) function(st *shell, body *syntax.Stmt, argv []string, in string, at pos) string {
	inside := *st
	inside.args, inside.anyArgs = argv, false
	e := &evaluation{judge: j, at: at, inner: true, depth: 100}
	j.calls++
	out := e.stmt(body, &inside, in)
	j.calls--
	st.cwd = inside.cwd
	return out
}

// match compares a command with the patterns of the rules.
func (j *judge) match(program string, args []string, cwd string, at pos, text string) {
	for _, name := range []string{strings.ToLower(program), ""} {
		for _, p := range j.set.programs[name] {
			if m := p.matchCommand(program, args, cwd); m != no {
				j.report(p.rule.Name, at, text, m == yes)
			}
		}
	}
}

// shells are the programs that run text like sh does.
var shells = strings.Fields("sh bash dash zsh ksh ksh93 ash rbash mksh")

// shellOptions are the options of shells that have a value.
var shellOptions = strings.Fields("-o +o -O +O --rcfile --init-file")

// shellProgram evaluates sh -c TEXT, sh FILE, and a shell that reads standard input.
func (j *judge) shellProgram(st *shell, args []string, in string, at pos) string {
	command, stdin := false, false
	i := 0
	for ; i < len(args); i++ {
		a := args[i]
		if a == "--" || a == "-" {
			i++
			break
		}
		if !strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "+") {
			break
		}
		if !strings.HasPrefix(a, "--") {
			command = command || strings.Contains(a, "c")
			stdin = stdin || strings.Contains(a, "s")
		}
		if slices.Contains(shellOptions, a) {
			i++
		}
	}
	rest := args[min(i, len(args)):]
	inside := st.child()
	inside.funcs = map[string]*syntax.Stmt{}
	switch {
	case command && len(rest) > 0:
		if inside.args = rest[1:]; len(rest) == 1 {
			inside.args = []string{"sh"}
		}
		return j.shellText(rest[0], inside, in, at)
	case stdin || len(rest) == 0 || rest[0] == "/dev/stdin" || rest[0] == "/dev/fd/0":
		return j.fedShell(inside, in, at)
	}
	inside.args = rest
	return j.file(inside, rest[0], in, at)
}

// fedShell evaluates what a shell reads from its standard input. An unknown input without
// an origin is an ordinary one, as of an interactive shell.
func (j *judge) fedShell(st *shell, in string, at pos) string {
	if in == unknown || strings.TrimSpace(in) == "" {
		return unknown
	}
	return j.shellText(in, st, unknown, at)
}

// file evaluates a file, if the same text wrote it.
func (j *judge) file(st *shell, name, in string, at pos) string {
	text, ok := st.files[cleanPath(name, st.cwd)]
	if !ok || text == unknown || j.nested >= maxNested {
		return unknown
	}
	return j.shellText(text, st, in, at)
}

// builtins are the commands that a shell itself runs.
var builtins map[string]func(j *judge, st *shell, args []string, in string, at pos) string

func init() { //nolint:gochecknoinits // the table and exec refer to each other
	builtins = map[string]func(j *judge, st *shell, args []string, in string, at pos) string{
		"cd": changeDir, "pushd": changeDir, "chdir": changeDir,
		"eval":   func(j *judge, st *shell, args []string, in string, at pos) string { return j.eval(st, args, in, at) },
		"source": source, ".": source,
		"trap":   firstAsText,
		"alias":  alias,
		"set":    setArgs,
		"read":   readVar,
		"echo":   func(_ *judge, _ *shell, args []string, _ string, _ pos) string { return echo(args) },
		"printf": printf,
	}
}

func changeDir(_ *judge, st *shell, args []string, _ string, _ pos) string {
	dir := home
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			dir = a
		} else if a == "-" {
			dir = unknown
		}
	}
	if hasUnknown(dir) {
		st.cwd = dir
		return ""
	}
	st.cwd = cleanPath(dir, st.cwd)
	return ""
}

func (j *judge) eval(st *shell, args []string, in string, at pos) string {
	return j.shellText(strings.Join(args, " "), st, in, at)
}

func source(j *judge, st *shell, args []string, in string, at pos) string {
	if len(args) == 0 {
		return ""
	}
	if args[0] == "/dev/stdin" {
		return j.fedShell(st, in, at)
	}
	return j.file(st, args[0], in, at)
}

func firstAsText(j *judge, st *shell, args []string, in string, at pos) string {
	if len(args) > 1 && !strings.HasPrefix(args[0], "-") {
		j.shellText(args[0], st.child(), in, at)
	}
	return ""
}

func alias(j *judge, st *shell, args []string, in string, at pos) string {
	for _, a := range args {
		if _, text, ok := strings.Cut(a, "="); ok {
			j.shellText(text, st.child(), in, at)
		}
	}
	return ""
}

func setArgs(_ *judge, st *shell, args []string, _ string, _ pos) string {
	for i, a := range args {
		if a == "--" || a == "-" {
			args = args[i+1:]
			break
		}
		if i == 0 && (strings.HasPrefix(a, "-") || strings.HasPrefix(a, "+")) {
			return ""
		}
	}
	if len(args) > 0 {
		st.args, st.anyArgs = append([]string{st.args[0]}, args...), false
	}
	return ""
}

// readVar sets variables to what the command reads, split into as many fields.
func readVar(_ *judge, st *shell, args []string, in string, _ pos) string {
	line, _, _ := strings.Cut(in, "\n")
	var names []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			names = append(names, a)
		}
	}
	words := strings.Fields(line)
	for i, name := range names {
		switch {
		case hasUnknown(in):
			st.set(name, []string{origin(in)})
		case i == len(names)-1:
			st.set(name, []string{strings.Join(words[min(i, len(words)):], " ")})
		case i < len(words):
			st.set(name, []string{words[i]})
		}
	}
	return ""
}

func echo(args []string) string {
	end, escapes := "\n", false
	for len(args) > 0 && len(args[0]) > 1 && strings.Trim(args[0][1:], "neE") == "" && args[0][0] == '-' {
		if strings.Contains(args[0], "n") {
			end = ""
		}
		escapes = escapes || strings.Contains(args[0], "e")
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes || strings.Contains(text, `\`) {
		// dash expands escapes without -e.
		text = format(strings.ReplaceAll(text, "%", "%%"))
	}
	return limited(text+end, maxOutput)
}

func printf(_ *judge, st *shell, args []string, _ string, _ pos) string {
	var name string
	if len(args) > 1 && args[0] == "-v" {
		name, args = args[1], args[2:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 || len(args) > 100 {
		return unknown
	}
	text := format(args[0], slices.Clone(args[1:])...)
	if name != "" {
		st.set(name, []string{text})
		return ""
	}
	return text
}

// filters are the programs whose output is known, or comes from a place that matters.
var filters = map[string]func(j *judge, st *shell, args []string, in string) string{
	"cat": cat, "tee": tee, "base64": base64Of, "curl": download, "wget": download, "fetch": download,
	"lwp-request": download, "GET": download, "nc": download, "ncat": download, "aria2c": download, "xh": download,
	"openssl": decoder, "xxd": decoder, "uudecode": decoder, "base32": decoder, "gpg": decoder,
	"tr": through, "sed": through, "rev": through, "gunzip": through, "zcat": through, "gzip": through, "head": through,
	"tail": through, "grep": through, "sort": through, "awk": through, "cut": through, "xz": through, "bzip2": through,
	"tac": through, "uniq": through, "pv": through, "dos2unix": through, "envsubst": through, "jq": through,
	"find": found, "ls": listed,
}

func cat(_ *judge, st *shell, args []string, in string) string {
	var out strings.Builder
	files := 0
	for _, a := range args {
		if a == "-" || a == "/dev/stdin" {
			out.WriteString(in)
			files++
		} else if !strings.HasPrefix(a, "-") {
			files++
			if text, ok := st.files[cleanPath(a, st.cwd)]; ok {
				out.WriteString(text)
			} else {
				out.WriteString(unknown)
			}
		}
	}
	if files == 0 {
		return in
	}
	return limited(out.String(), maxOutput)
}

func tee(_ *judge, st *shell, args []string, in string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") && !hasUnknown(a) && len(st.files) < 256 {
			st.files[cleanPath(a, st.cwd)] = in
		}
	}
	return in
}

func base64Of(j *judge, st *shell, args []string, in string) string {
	decodes := slices.ContainsFunc(args, func(a string) bool {
		return a == "-d" || a == "-D" || strings.HasPrefix(a, "--d") || a == "-di"
	})
	if !decodes {
		return unknown
	}
	if in = cat(j, st, args, in); hasUnknown(in) {
		return decoded
	}
	text := strings.Join(strings.Fields(in), "")
	if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil {
		return limited(strings.ReplaceAll(string(b), "\x00", ""), maxOutput)
	}
	return decoded
}

// download prints what a host sends, or writes it to a file.
func download(_ *judge, st *shell, args []string, _ string) string {
	for i, a := range args {
		if (a == "-o" || a == "-O" || a == "--output" || a == "--output-document") && i+1 < len(args) &&
			len(st.files) < 256 {
			st.files[cleanPath(args[i+1], st.cwd)] = downloaded
		}
	}
	return downloaded
}

func decoder(_ *judge, _ *shell, args []string, in string) string {
	decodes := slices.ContainsFunc(args, func(a string) bool {
		return a == "-d" || a == "-r" || strings.HasPrefix(a, "--dec") || a == "-D"
	})
	if !decodes {
		return origin(in)
	}
	if strings.Contains(in, downloaded) {
		return downloaded
	}
	return decoded
}

func through(_ *judge, _ *shell, _ []string, in string) string {
	if hasUnknown(in) {
		return origin(in)
	}
	if strings.TrimSpace(in) == "" {
		return unknown
	}
	return decoded // computed from something known, in a way that is not
}

// narrowing are the tests of find that select some of the files.
var narrowing = regexp.MustCompile(`^-(i?name|i?path|i?regex|i?wholename|[acm]?min|[acm]time|newer.*|size|user|group|` +
	`uid|gid|perm|empty|links|inum|samefile|nouser|nogroup|used|executable)$`)

// foundBy returns what find prints: its folders if nothing narrows the search.
func foundBy(args []string) []string {
	var roots []string
	for _, a := range args {
		if strings.HasPrefix(a, "-") && len(a) > 2 || a == "!" || a == "(" {
			break
		}
		if !strings.HasPrefix(a, "-") {
			roots = append(roots, a)
		}
	}
	if slices.ContainsFunc(args, narrowing.MatchString) {
		return []string{unknown}
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	return roots
}

func found(_ *judge, _ *shell, args []string, _ string) string {
	return strings.Join(foundBy(args), "\n")
}

func listed(_ *judge, st *shell, args []string, _ string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") && isSystem(a, st.cwd) == yes {
			return "/*"
		}
	}
	return unknown
}
