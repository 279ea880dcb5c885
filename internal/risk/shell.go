package risk

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// home is the folder that the text of a job is taken to start in.
const home = "/root"

// shell is what is known of a shell while its commands are evaluated.
type shell struct {
	vars  map[string][]string // the values that a variable may have
	funcs map[string]*syntax.Stmt
	files map[string]string // written by the text
	args  []string          // $0, $1, …
	cwd   string
	// branch is true where it is not known whether a command runs: an assignment then adds
	// a value.
	branch bool
	// anyArgs: the positional parameters are not known.
	anyArgs bool
}

func newShell(c Command) *shell {
	st := &shell{vars: map[string][]string{}, funcs: map[string]*syntax.Stmt{}, files: map[string]string{}, cwd: c.Dir}
	if c.Dir == "" {
		st.cwd = home
	}
	st.vars["HOME"] = []string{home}
	for k, v := range c.Env {
		st.vars[k] = []string{limited(v, maxValue)}
	}
	st.args = append([]string{"sh"}, c.Args...)
	return st
}

// fresh is a shell on another host, or of another user.
func fresh() *shell { return newShell(Command{}) }

// child is a shell that this one starts: what it changes is not seen here, except that
// files and functions are shared, which can only add findings.
func (st *shell) child() *shell {
	c := *st
	c.vars = maps.Clone(st.vars)
	return &c
}

func (st *shell) set(name string, values []string) {
	if st.branch || name == "PATH" {
		values = slices.Concat(st.vars[name], values)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) > maxChoices {
		values = []string{origin(strings.Join(values, ""))}
	}
	st.vars[name] = values
}

// shellText evaluates a text that a shell reads.
func (j *judge) shellText(text string, st *shell, in string, at pos) string {
	if onlyUnknown(text) {
		j.unknownText(text, at)
		return origin(text)
	}
	if j.nested >= maxNested || !j.budget.take(text) {
		j.report(TooComplex, at, text, true)
		return unknown
	}
	j.nested++
	defer func() { j.nested-- }()
	e := &evaluation{judge: j, at: at, inner: j.nested > 1}
	source := text
	if hasUnknown(text) {
		source = sourceOf.Replace(text)
	}
	out, rest, err := e.text(source, st, in)
	switch {
	case errors.Is(err, errTooDeep):
		j.report(TooComplex, at, text, true)
	case err != nil:
		e.unparsable(rest, st, in)
	}
	return out
}

// unknownText reports a text that a shell runs and that is not known.
func (j *judge) unknownText(text string, at pos) {
	switch origin(text) {
	case downloaded:
		j.report(RemoteScript, at, "sh …", true)
	case decoded:
		j.report("generated-script", at, "sh …", true)
	default:
		j.report(UnknownCommand, at, "sh …", false)
	}
}

// evaluation walks one text.
type evaluation struct {
	*judge

	at    pos  // of the text, if it is inside of another one
	inner bool // it is
	depth int
}

// text parses and evaluates statement by statement, as a shell does. It returns what
// follows the last statement before an error.
func (e *evaluation) text(source string, st *shell, in string) (out, rest string, err error) {
	var last *syntax.Stmt // evaluated when the next one is read: its heredocs follow it
	done := 0
	run := func() {
		if last != nil {
			out = limited(out+e.stmt(last, st, in), maxOutput)
			done = int(last.End().Offset())
		}
	}
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	// The loop is not left early: the library would go on calling its body.
	for s, failed := range parser.StmtsSeq(shallowReader{strings.NewReader(source), e.budget}) {
		switch {
		case err != nil || e.budget.exceeded:
		case failed != nil:
			err = failed
		default:
			run()
			last = s
		}
	}
	run()
	if e.budget.exceeded {
		e.report(TooComplex, e.at, "", true)
		return out, "", nil
	}
	return out, source[min(done, len(source)):], err
}

// unparsable evaluates, line by line, a text that is not valid for the parser: a shell
// runs what precedes an error, and other shells have another syntax.
func (e *evaluation) unparsable(rest string, st *shell, in string) {
	e.report(UnknownCommand, e.at, rest, false)
	for line := range strings.SplitSeq(rest, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if !e.budget.step() || !e.budget.take(line) {
			e.report(TooComplex, e.at, line, true)
			return
		}
		if _, _, err := e.text(line, st, in); err == nil {
			continue
		}
		separators := strings.NewReplacer(";", "\n", "|", "\n", "&", "\n", "(", "\n", ")", "\n",
			"{", "\n", "}", "\n", "`", "\n", `"`, "", "'", "", `\`, "")
		for part := range strings.SplitSeq(separators.Replace(line), "\n") {
			words := strings.Fields(valueOf.Replace(part))
			for len(words) > 0 && syntax.IsKeyword(words[0]) {
				words = words[1:]
			}
			e.exec(st, words, in, e.at)
		}
	}
}

func (e *evaluation) pos(n syntax.Node) pos {
	if e.inner {
		return e.at
	}
	return pos{int(n.Pos().Line()), int(n.Pos().Col())}
}

func (e *evaluation) stmts(list []*syntax.Stmt, st *shell, in string) string {
	var out strings.Builder
	for _, s := range list {
		o := e.stmt(s, st, in)
		if out.Len()+len(o) > maxOutput {
			return unknown
		}
		out.WriteString(o)
	}
	return out.String()
}

// maybeStmts evaluates statements of a branch.
func (e *evaluation) maybeStmts(list []*syntax.Stmt, st *shell, in string) string {
	was := st.branch
	st.branch = true
	out := e.stmts(list, st, in)
	st.branch = was
	return out
}

// stmt evaluates a statement and returns what it prints, as far as it is known.
func (e *evaluation) stmt(s *syntax.Stmt, st *shell, in string) string {
	if e.depth >= maxDepth || !e.budget.step() {
		e.budget.exceeded = true
		e.report(TooComplex, e.pos(s), "", true)
		return unknown
	}
	e.depth++
	defer func() { e.depth-- }()
	in = e.input(s, st, in)
	out := e.command(s, st, in)
	return e.output(s, st, out)
}

func (e *evaluation) command(s *syntax.Stmt, st *shell, in string) string {
	switch c := s.Cmd.(type) {
	case nil:
		return ""
	case *syntax.CallExpr:
		return e.call(c, st, in)
	case *syntax.BinaryCmd:
		return e.binary(c, st, in)
	case *syntax.Block:
		return e.stmts(c.Stmts, st, in)
	case *syntax.Subshell:
		return e.stmts(c.Stmts, st.child(), in)
	case *syntax.IfClause:
		return e.ifClause(c, st, in)
	case *syntax.WhileClause:
		e.endless(c)
		e.maybeStmts(c.Cond, st, in)
		e.maybeStmts(c.Do, st, in)
		return unknown
	case *syntax.ForClause:
		return e.forClause(c, st, in)
	case *syntax.CaseClause:
		e.word(c.Word, st)
		for _, item := range c.Items {
			e.maybeStmts(item.Stmts, st, in)
		}
		return unknown
	case *syntax.FuncDecl:
		return e.declare(c, st)
	case *syntax.DeclClause:
		for _, a := range c.Args {
			e.assign(a, st)
		}
	case *syntax.TimeClause:
		if c.Stmt != nil {
			return e.stmt(c.Stmt, st, in)
		}
	case *syntax.CoprocClause:
		return e.stmt(c.Stmt, st, in)
	default:
		e.substitutions(c, st)
	}
	return ""
}

func (e *evaluation) binary(c *syntax.BinaryCmd, st *shell, in string) string {
	left := e.stmt(c.X, st, in)
	if c.Op == syntax.Pipe || c.Op == syntax.PipeAll {
		return e.stmt(c.Y, st, left)
	}
	was := st.branch
	st.branch = true
	out := left + e.stmt(c.Y, st, in)
	st.branch = was
	return limited(out, maxOutput)
}

func (e *evaluation) ifClause(c *syntax.IfClause, st *shell, in string) string {
	var out string
	for ; c != nil; c = c.Else {
		e.maybeStmts(c.Cond, st, in)
		out = limited(out+e.maybeStmts(c.Then, st, in), maxOutput)
	}
	return out
}

func (e *evaluation) forClause(c *syntax.ForClause, st *shell, in string) string {
	switch loop := c.Loop.(type) {
	case *syntax.WordIter:
		var values []string
		for _, w := range loop.Items {
			for _, f := range e.fields(w, st) {
				values = append(values, f...)
			}
		}
		if !loop.InPos.IsValid() {
			values = st.parameters()
		}
		if len(values) > 0 {
			e.eachValue(loop.Name.Value, values, c, st, in)
		}
	case *syntax.CStyleLoop:
		e.substitutions(loop, st)
		e.maybeStmts(c.Do, st, in)
	}
	return unknown
}

// eachValue evaluates the body of a loop with all values at once, in groups.
func (e *evaluation) eachValue(name string, values []string, c *syntax.ForClause, st *shell, in string) {
	slices.Sort(values)
	for group := range slices.Chunk(slices.Compact(values), maxChoices) {
		if e.budget.exceeded {
			return
		}
		st.vars[name] = slices.Clone(group)
		e.maybeStmts(c.Do, st, in)
	}
}

// substitutions evaluates the command substitutions in a node whose value is not needed.
func (e *evaluation) substitutions(n syntax.Node, st *shell) {
	syntax.Walk(n, func(n syntax.Node) bool {
		switch x := n.(type) {
		case *syntax.CmdSubst:
			e.stmts(x.Stmts, st.child(), unknown)
			return false
		case *syntax.ProcSubst:
			e.stmts(x.Stmts, st.child(), unknown)
			return false
		}
		return true
	})
}

// input returns what a statement reads.
func (e *evaluation) input(s *syntax.Stmt, st *shell, in string) string {
	for _, r := range s.Redirs {
		switch r.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			if r.Hdoc != nil {
				in = e.heredoc(r, st)
			}
		case syntax.WordHdoc:
			in = strings.Join(e.word(r.Word, st), "\n") + "\n"
		case syntax.RdrIn, syntax.RdrInOut:
			in = unknown
			for _, name := range e.word(r.Word, st) {
				if text, ok := st.files[cleanPath(plain(name), st.cwd)]; ok {
					in = text
				}
			}
		default: // the others write, or copy a descriptor
		}
	}
	return in
}

// heredoc returns the text of a heredoc; that with a quoted delimiter is not expanded.
func (e *evaluation) heredoc(r *syntax.Redirect, st *shell) string {
	quoted := false
	for _, p := range r.Word.Parts {
		if lit, ok := p.(*syntax.Lit); !ok || strings.Contains(lit.Value, `\`) {
			quoted = true
		}
	}
	if quoted {
		return valueOf.Replace(r.Hdoc.Lit())
	}
	return plain(strings.Join(e.parts(r.Hdoc.Parts, st, true), "\n"))
}

// output applies the redirections of what a statement prints: a write to a file counts as
// the command ">".
func (e *evaluation) output(s *syntax.Stmt, st *shell, out string) string {
	for _, r := range s.Redirs {
		switch r.Op {
		case syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll, syntax.RdrInOut, syntax.DplOut:
			written := out
			if r.N == nil || r.N.Value == "1" {
				out = ""
			} else {
				written = unknown
			}
			for _, name := range e.word(r.Word, st) {
				e.write(plain(name), written, r, st)
			}
		default: // the others read, or are only of zsh
		}
	}
	return out
}

func (e *evaluation) write(name, text string, r *syntax.Redirect, st *shell) {
	op := ">"
	if r.Op == syntax.AppOut || r.Op == syntax.AppAll {
		op = ">>"
	}
	e.match(op, []string{name}, st.cwd, e.pos(r), op+" "+name)
	if name == "/proc/sysrq-trigger" || name == "/dev/tcp" {
		return
	}
	if !hasUnknown(name) && len(st.files) < 256 {
		p := cleanPath(name, st.cwd)
		if op == ">>" || st.branch {
			text = limited(st.files[p]+text, maxOutput)
		}
		st.files[p] = limited(text, maxOutput)
	}
}

// declare evaluates the body of a function without knowing its parameters, and keeps it
// for its calls.
func (e *evaluation) declare(c *syntax.FuncDecl, st *shell) string {
	if c.Name == nil || c.Body == nil {
		return ""
	}
	name := c.Name.Value
	if forks(c.Body, name) {
		e.report(ForkBomb, e.pos(c), name+"() { … }", true)
		return ""
	}
	if len(st.funcs) < 1000 {
		st.funcs[name] = c.Body
	}
	inside := st.child()
	inside.anyArgs, inside.branch = true, true
	if e.calls < maxCalls {
		e.calls++
		e.stmt(c.Body, inside, unknown)
		e.calls--
	}
	return ""
}

// forks reports whether a body starts itself twice: in a pipeline or in the background.
func forks(body syntax.Node, name string) bool {
	found := false
	calls := func(n syntax.Node) bool {
		called := false
		syntax.Walk(n, func(n syntax.Node) bool {
			if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 && callee(c.Args[0]) == name {
				called = true
			}
			return !called
		})
		return called
	}
	syntax.Walk(body, func(n syntax.Node) bool {
		switch x := n.(type) {
		case *syntax.Stmt:
			found = found || x.Background && calls(x)
		case *syntax.BinaryCmd:
			pipe := x.Op == syntax.Pipe || x.Op == syntax.PipeAll
			found = found || pipe && calls(x.X) && calls(x.Y)
		}
		return !found
	})
	return found
}

// callee returns the name of a program that is a plain word, and $0 for the script itself.
func callee(w *syntax.Word) string {
	if len(w.Parts) == 1 {
		p := w.Parts[0]
		if q, ok := p.(*syntax.DblQuoted); ok && len(q.Parts) == 1 {
			p = q.Parts[0]
		}
		if x, ok := p.(*syntax.ParamExp); ok && x.Param != nil && x.Param.Value == "0" {
			return "$0"
		}
	}
	return w.Lit()
}

// endless reports a loop without an end that only starts processes.
func (e *evaluation) endless(c *syntax.WhileClause) {
	forever := len(c.Cond) == 1 && !c.Until
	if forever {
		call, ok := c.Cond[0].Cmd.(*syntax.CallExpr)
		forever = ok && len(call.Args) > 0 && slices.Contains([]string{"true", ":", "/bin/true"}, call.Args[0].Lit())
	}
	if !forever || len(c.Do) == 0 {
		return
	}
	for _, s := range c.Do {
		if !s.Background {
			return
		}
	}
	e.report(ForkBomb, e.pos(c), "while true; do … & done", true)
}
