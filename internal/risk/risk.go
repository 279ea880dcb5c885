// Package risk judges commands before they run: it finds those that an operator should not
// run by mistake, such as rm -rf / or write erase. It is pure: no store, no clock, and
// nothing is ever executed.
//
// # Model
//
// A [Rule] has patterns of commands and an effect: off, approve or refuse. A [Set] is the
// built-in rules with the changes of a project and its own rules. [Set.Judge] takes the
// commands of a job and returns a [Finding] for each rule that one of them matches.
//
//	shell text ─ parse (mvdan.cc/sh) ─▶ evaluate words ─▶ argv ─ patterns ─▶ findings
//	              ▲                                        │
//	              └─ sh -c, eval, ssh, heredocs, $(…) ─────┘
//	device line ─ words, abbreviations ─ patterns ─▶ findings
//
// The evaluation computes what the words of a command may be: of quotes, escapes, braces,
// variables that the same text sets, the output of echo and printf. A variable that
// branches set differently has several values. What cannot be computed is a marker inside
// the value (see unknown), and a pattern then matches certainly, possibly, or not. A rule
// applies to a possible match only if its Unknown field says so.
//
// # Patterns
//
//	rm -r|-R|--recursive {system}
//
// The first word is the program, without its folder. Words that begin with a dash are
// options, found anywhere, also in a bundle such as -fr. The others must occur in their
// order. A word may list alternatives with |, contain * and ?, and name a class of values
// in braces (see classes); a word that begins with ! must not occur. Patterns of devices
// match the words of a line from its beginning; a tilde marks how far a word may be
// abbreviated: rel~oad.
//
// # Invariants
//
//   - Bounded: size, depth and number of what is judged have limits that do not depend on
//     the input. What is beyond them matches the rule [TooComplex].
//   - NothingRuns: the parser is used, never an interpreter; no file is read.
//   - SameAnswer: the verdict is a function of the commands and the rules.
package risk

import (
	"cmp"
	"slices"

	"hostler.dev/hostler"
)

// Kind is how a command is run.
type Kind int

// The kinds.
const (
	Shell   Kind = iota // Text is read by a POSIX shell or bash
	Argv                // Argv is a program with its arguments
	Device              // Text is a line on the CLI of a network device
	Foreign             // Text is source of another language, run by Argv[0]
)

// Command is something that a job runs.
type Command struct {
	Path string // the field of the args, such as commands[2]
	Kind Kind
	Text string
	Argv []string
	// Args are the positional parameters of a shell text; Env, Stdin and Dir are what the
	// program gets. [Unknown] is a value that is not known.
	Args     []string
	Env      map[string]string
	Stdin    string
	Dir      string
	Platform string // of the device
}

// Unknown is a value that is not known when a command is judged, such as a secret.
const Unknown = unknown

// Finding is a match of a rule.
type Finding struct {
	Rule   string
	Effect hostler.RuleEffect
	Path   string // of the [Command]
	// Line and Column are where the command is in the text, from 1; 0 in an argv.
	Line, Column int
	Text         string // of the command that matches, as it would run; cut to a line
	// Certain is false for a match that depends on values which are not known.
	Certain bool
}

// Rules of their own, which no pattern describes.
const (
	ForkBomb       = "fork-bomb"
	RemoteScript   = "remote-script"
	UnknownCommand = "unknown-command"
	TooComplex     = "too-complex"
)

// Set is the rules of a project, compiled.
type Set struct {
	rules    []*rule
	byName   map[string]*rule
	programs map[string][]*pattern // by the program; "" for those with a * in it
	device   []*pattern
	exact    map[string][]*pattern // of devices, by the first word, not abbreviated
}

type rule struct {
	hostler.CommandRule

	commands, device []*pattern
}

// NewSet compiles rules. The error names the pattern that is not valid.
func NewSet(rules []hostler.CommandRule) (*Set, error) {
	s := &Set{byName: map[string]*rule{}, programs: map[string][]*pattern{}, exact: map[string][]*pattern{}}
	for i := range rules {
		r := &rule{CommandRule: rules[i]}
		if r.Effect == hostler.RuleOff {
			continue
		}
		var err error
		if r.commands, err = compileAll(r, "commands", r.Commands, parseCommand); err != nil {
			return nil, err
		}
		if r.device, err = compileAll(r, "device", r.Device, parseDevice); err != nil {
			return nil, err
		}
		s.add(r)
	}
	return s, nil
}

func (s *Set) add(r *rule) {
	s.rules = append(s.rules, r)
	s.byName[r.Name] = r
	for _, p := range r.commands {
		for _, name := range p.programs() {
			s.programs[name] = append(s.programs[name], p)
		}
	}
	s.device = append(s.device, r.device...)
	for _, p := range r.device {
		for _, name := range p.programs() {
			s.exact[name] = append(s.exact[name], p)
		}
	}
}

// Judge returns the findings of the commands of a job, at most one for each rule and
// command, those that refuse first.
func (s *Set) Judge(commands ...Command) []Finding {
	var out []Finding
	b, files := newBudget(), map[string]string{}
	for _, c := range commands {
		out = append(out, s.judge(c, b, files)...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Compare(severity(b.Effect), severity(a.Effect))
	})
	return out
}

func severity(e hostler.RuleEffect) int {
	return slices.Index([]hostler.RuleEffect{hostler.RuleApprove, hostler.RuleRefuse}, e)
}

// judge judges one command; files are what the commands before it wrote.
func (s *Set) judge(c Command, b *budget, files map[string]string) []Finding {
	j := &judge{set: s, path: c.Path, budget: b}
	st := newShell(c)
	st.files = files
	switch c.Kind {
	case Shell:
		j.shellText(c.Text, st, c.Stdin, pos{1, 1})
	case Argv:
		j.exec(st, slices.Clone(c.Argv), c.Stdin, pos{})
	case Device:
		j.deviceLine(c.Text, c.Platform)
	case Foreign:
		j.foreign(c.Text, st, pos{1, 1})
	}
	return j.findings
}

// judge evaluates one command.
type judge struct {
	set      *Set
	path     string
	budget   *budget
	nested   int // texts inside of texts
	wrapped  int // commands that other commands run
	calls    int // calls of functions
	findings []Finding
}

// pos is a place in the text of a command.
type pos struct{ line, column int }

// maxShown limits the text of a finding.
const maxShown = 200

// report records a match of a rule, if the rule applies to it.
func (j *judge) report(name string, at pos, text string, certain bool) {
	r := j.set.byName[name]
	if r == nil || !certain && r.Unknown != hostler.UnknownApplies {
		return
	}
	for i := range j.findings {
		f := &j.findings[i]
		if f.Rule == name {
			f.Certain = f.Certain || certain
			return
		}
	}
	j.findings = append(j.findings, Finding{
		Rule: name, Effect: r.Effect, Path: j.path, Line: at.line, Column: at.column,
		Text: display(text), Certain: certain,
	})
}
