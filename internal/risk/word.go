package risk

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// plain takes the marks of the evaluation out of a value.
func plain(s string) string {
	if !strings.ContainsAny(s, fieldBreak+emptyQuote) {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, fieldBreak, " "), emptyQuote, "")
}

// word returns the values of a word that is not split into fields.
func (e *evaluation) word(w *syntax.Word, st *shell) []string {
	if w == nil {
		return []string{""}
	}
	out := e.parts(w.Parts, st, false)
	for i := range out {
		out[i] = plain(out[i])
	}
	return out
}

// fields returns the fields that a word may become.
func (e *evaluation) fields(w *syntax.Word, st *shell) [][]string {
	if lit := w.Lit(); lit != "" && !strings.ContainsAny(lit, "\\~{") {
		return [][]string{{lit}}
	}
	var all []string
	for _, w := range braces(w) {
		all = append(all, strings.Join(e.parts(w.Parts, st, false), "\x05"))
	}
	// All words of a brace expansion are fields of one command.
	choices := []string{""}
	for i, a := range all {
		if i > 0 {
			choices = cross(choices, []string{fieldBreak})
		}
		choices = cross(choices, strings.Split(a, "\x05"))
	}
	out := make([][]string, 0, len(choices))
	for _, c := range choices {
		fields := []string{}
		for f := range strings.SplitSeq(c, fieldBreak) {
			if f != "" {
				fields = append(fields, strings.ReplaceAll(f, emptyQuote, ""))
			}
		}
		out = append(out, fields)
	}
	return out
}

// braces expands {a,b} in a word. Sequences and what has too many words stay as they are,
// as a glob.
func braces(w *syntax.Word) []*syntax.Word {
	if !syntax.SplitBraces(w) {
		return []*syntax.Word{w}
	}
	out := []*syntax.Word{{}}
	for _, part := range w.Parts {
		var choices []*syntax.Word
		switch b, ok := part.(*syntax.BraceExp); {
		case !ok:
			choices = []*syntax.Word{{Parts: []syntax.WordPart{part}}}
		case b.Sequence:
			choices = []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: "*"}}}}
		default:
			for _, elem := range b.Elems {
				choices = append(choices, braces(elem)...)
			}
		}
		if len(out)*len(choices) > 4*maxChoices {
			choices = []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: "*"}}}}
		}
		var next []*syntax.Word
		for _, o := range out {
			for _, c := range choices {
				next = append(next, &syntax.Word{Parts: slices.Concat(o.Parts, c.Parts)})
			}
		}
		out = next
	}
	return out
}

// parts returns the values of the parts of a word. In a heredoc, quotes are text.
func (e *evaluation) parts(parts []syntax.WordPart, st *shell, heredoc bool) []string {
	out := []string{""}
	for i, p := range parts {
		var values []string
		switch x := p.(type) {
		case *syntax.Lit:
			text := unescape(x.Value, heredoc)
			if i == 0 && !heredoc {
				text = tilde(text)
			}
			values = []string{text}
		case *syntax.SglQuoted:
			values = []string{emptyQuote + singleQuoted(x)}
		case *syntax.DblQuoted:
			values = e.doubleQuoted(x, st)
		case *syntax.ParamExp:
			values = e.split(e.param(x, st), st, heredoc)
		case *syntax.CmdSubst:
			text := strings.TrimRight(e.stmts(x.Stmts, st.child(), unknown), "\n")
			values = e.split([]string{limited(text, maxValue)}, st, heredoc)
		case *syntax.ProcSubst:
			values = []string{e.processFile(x, st)}
		case *syntax.ExtGlob:
			values = []string{"*"}
		default:
			e.substitutions(p, st)
			values = []string{unknown}
		}
		out = cross(out, values)
	}
	return out
}

// split marks where the values of an expansion without quotes become several fields.
func (e *evaluation) split(values []string, st *shell, heredoc bool) []string {
	if heredoc {
		return values
	}
	separators := " \t\n" + strings.Join(st.vars["IFS"], "")
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.Map(func(r rune) rune {
			if strings.ContainsRune(separators, r) && !isUnknown(r) {
				return rune(fieldBreak[0])
			}
			return r
		}, v)
	}
	return out
}

func (e *evaluation) doubleQuoted(q *syntax.DblQuoted, st *shell) []string {
	out := []string{emptyQuote}
	for _, p := range q.Parts {
		var values []string
		switch x := p.(type) {
		case *syntax.Lit:
			values = []string{unescape(x.Value, true)}
		case *syntax.ParamExp:
			values = e.param(x, st)
			if isAll(x) && len(st.args) > 1 && !st.anyArgs {
				values = []string{strings.Join(st.args[1:], fieldBreak)}
			}
			if isList(x) {
				values = e.split(values, st, false)
			}
		case *syntax.CmdSubst:
			text := e.stmts(x.Stmts, st.child(), unknown)
			values = []string{limited(strings.TrimRight(text, "\n"), maxValue)}
		default:
			e.substitutions(p, st)
			values = []string{unknown}
		}
		out = cross(out, values)
	}
	return out
}

// isAll reports whether an expansion is $@, which has a field for each parameter.
func isAll(x *syntax.ParamExp) bool { return x.Param != nil && x.Param.Value == "@" }

// processFile evaluates <(…), and returns the name of a file with what it prints.
func (e *evaluation) processFile(x *syntax.ProcSubst, st *shell) string {
	text := e.stmts(x.Stmts, st.child(), unknown)
	name := "/dev/fd/process" + strconv.Itoa(len(st.files))
	if len(st.files) < 256 {
		st.files[name] = limited(text, maxOutput)
	}
	return name
}

// unescape takes the backslashes out of a literal. Between double quotes they only quote
// what is special there.
func unescape(s string, quoted bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case s[i] == '\n':
		case quoted && !strings.ContainsRune("$`\"\\", rune(s[i])):
			b.WriteString(s[i-1 : i+1])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func singleQuoted(q *syntax.SglQuoted) string {
	if !q.Dollar {
		return valueOf.Replace(q.Value)
	}
	return format(q.Value)
}

// format computes the escapes of printf and $'…'. The library's formatting would allocate
// what a width asks for.
func format(text string, args ...string) string {
	for i, c := range text {
		if c == '%' && i+1 < len(text) && strings.ContainsRune("0123456789*.", rune(text[i+1])) {
			return unknown
		}
	}
	if hasUnknown(text + strings.Join(args, "")) {
		text = sourceOf.Replace(text)
		for i := range args {
			args[i] = sourceOf.Replace(args[i])
		}
	}
	var out strings.Builder
	for {
		s, used, err := expand.Format(nil, text, args)
		if err != nil {
			return unknown
		}
		out.WriteString(s)
		if used == 0 || used >= len(args) || out.Len() > maxValue {
			return limited(valueOf.Replace(strings.ReplaceAll(out.String(), "\x00", "")), maxValue)
		}
		args = args[used:]
	}
}

func tilde(s string) string {
	rest, ok := strings.CutPrefix(s, "~")
	if !ok {
		return s
	}
	user, tail, slash := strings.Cut(rest, "/")
	if slash {
		tail = "/" + tail
	}
	if user == "" || user == "root" {
		return home + tail
	}
	return "/home/" + user + tail
}

// parameters returns the positional parameters.
func (st *shell) parameters() []string {
	if st.anyArgs {
		return []string{unknown}
	}
	return slices.Clone(st.args[1:])
}

// value returns the values of a parameter; none if it is not set.
func (st *shell) value(name string) []string {
	switch name {
	case "__unknown":
		return []string{unknown}
	case "__downloaded":
		return []string{downloaded}
	case "__decoded":
		return []string{decoded}
	case "@", "*":
		if st.anyArgs {
			return []string{unknown}
		}
		return []string{strings.Join(st.args[1:], " ")}
	case "PWD":
		return []string{st.cwd}
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 {
		switch {
		case st.anyArgs && n > 0:
			return []string{unknown}
		case n < len(st.args):
			return []string{st.args[n]}
		}
		return nil
	}
	return st.vars[name]
}

// param returns the values of a parameter expansion.
func (e *evaluation) param(x *syntax.ParamExp, st *shell) []string {
	if x.Param == nil {
		return []string{unknown}
	}
	e.nestedInParam(x, st)
	values := st.value(x.Param.Value)
	known := len(values) > 0
	if !known {
		values = []string{unknown} // the environment may have it
	}
	switch {
	case x.Length || x.Width || x.Names != 0:
		return []string{unknown}
	case x.Excl:
		return st.indirect(values)
	case x.Index != nil:
		return element(x, values)
	case x.Exp != nil && isDefault(x.Exp.Op):
		other := e.word(x.Exp.Word, st)
		if x.Exp.Op == syntax.AlternateUnset || x.Exp.Op == syntax.AlternateUnsetOrNull {
			return append(other, "")
		}
		if !known || slices.Contains(values, "") {
			return append(slices.Clone(values), other...)
		}
		return values
	case x.Slice != nil || x.Repl != nil || x.Exp != nil:
		return compute(x, values)
	}
	return values
}

// indirect returns the values of the variables that the values name.
func (st *shell) indirect(names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, st.value(name)...)
	}
	if len(out) == 0 || len(out) > maxChoices {
		return []string{unknown}
	}
	return out
}

// element returns an element of an array, or all of them. An array is kept as one text.
func element(x *syntax.ParamExp, values []string) []string {
	w, ok := x.Index.(*syntax.Word)
	if !ok {
		return []string{unknown}
	}
	if isList(x) {
		return values
	}
	n, err := strconv.Atoi(w.Lit())
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = unknown
		if all := strings.Fields(v); err == nil && n >= 0 && n < len(all) {
			out[i] = all[n]
		}
	}
	return out
}

// isList reports whether an expansion is ${name[@]}.
func isList(x *syntax.ParamExp) bool {
	if x.Index == nil {
		return false
	}
	w, ok := x.Index.(*syntax.Word)
	return ok && (w.Lit() == "@" || w.Lit() == "*")
}

// nestedInParam evaluates the substitutions in the operands of an expansion.
func (e *evaluation) nestedInParam(x *syntax.ParamExp, st *shell) {
	if x.Slice == nil && x.Repl == nil && x.Exp == nil && x.Index == nil {
		return
	}
	e.substitutions(x, st)
}

func isDefault(op syntax.ParExpOperator) bool {
	switch op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull,
		syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
		return true
	default:
		return false
	}
}

// compute applies an operator such as ${X#a}, ${X/a/b} or ${X:1:2} to values that are
// known.
func compute(x *syntax.ParamExp, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = origin(v)
		if hasUnknown(v) || len(v) > 1024 || int(x.End().Offset()-x.Pos().Offset()) > 256 {
			continue
		}
		cfg := &expand.Config{Env: expand.FuncEnviron(func(name string) string {
			if name == x.Param.Value {
				return v
			}
			return ""
		})}
		if s, err := expand.Literal(cfg, &syntax.Word{Parts: []syntax.WordPart{x}}); err == nil {
			out[i] = limited(s, maxValue)
		}
	}
	return out
}

// assign sets a variable.
func (e *evaluation) assign(a *syntax.Assign, st *shell) {
	switch {
	case a.Name == nil:
		return
	case a.Array != nil:
		var values []string
		for _, elem := range a.Array.Elems {
			for _, f := range e.fields(elem.Value, st) {
				values = append(values, strings.Join(f, " "))
			}
		}
		st.set(a.Name.Value, []string{limited(strings.Join(values, " "), maxValue)})
	case a.Value == nil:
		if !a.Naked {
			st.set(a.Name.Value, []string{""})
		}
	case a.Append:
		old := st.value(a.Name.Value)
		if len(old) == 0 {
			old = []string{""}
		}
		st.set(a.Name.Value, cross(old, e.word(a.Value, st)))
	default:
		st.set(a.Name.Value, e.word(a.Value, st))
	}
}
