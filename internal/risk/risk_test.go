package risk_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/risk"
)

func set(t testing.TB, rules ...hostler.CommandRule) *risk.Set {
	t.Helper()
	s, err := risk.NewSet(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func own(effect hostler.RuleEffect, patterns ...string) hostler.CommandRule {
	return hostler.CommandRule{Name: "own", Effect: effect, Commands: patterns}
}

func shellOf(s *risk.Set, text string) []risk.Finding {
	return s.Judge(risk.Command{Path: "command", Text: text})
}

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, command string
		want             bool
	}{
		{"kubectl delete ns|namespace", "kubectl -n x delete ns prod", true},
		{"kubectl delete ns|namespace", "kubectl get ns", false},
		{"git push -f|--force", "git push origin main --force", true},
		{"git push -f|--force", "git push origin main --force-with-lease", false},
		{"git push -f|--force", "git push -uf", true},
		{"git push --force", "git push --for", true},
		{"*ctl restart", "supervisorctl restart app", true},
		{"app !--dry-run purge", "app purge --dry-run", false},
		{"app !--dry-run purge", "app purge", true},
		{"> /data/*", "echo x > /data/a", true},
		{"deploy prod|live", "./deploy.d/deploy test", false},
		{"deploy prod|live", "./deploy.d/deploy LIVE", true},
	} {
		got := len(shellOf(set(t, own(hostler.RuleRefuse, tc.pattern)), tc.command)) > 0
		if got != tc.want {
			t.Errorf("%q matches %q: got %v, want %v", tc.pattern, tc.command, got, tc.want)
		}
	}
}

func TestBadPatternsAreNamed(t *testing.T) {
	for _, pattern := range []string{"", "*", "-rf", "!x", "a|", "rm -r|x", "rm {nothing}", strings.Repeat("a ", 50), "a {system"} {
		_, err := risk.NewSet([]hostler.CommandRule{own(hostler.RuleRefuse, "ok", pattern)})
		if err == nil || !strings.Contains(err.Error(), "commands[1]") {
			t.Errorf("%q: error %v", pattern, err)
		}
	}
}

// A rule decides whether it applies to values that are not known.
func TestUnknownValues(t *testing.T) {
	for _, tc := range []struct {
		command          string
		ignored, applies bool
	}{
		{`rm -rf "$DIR/"`, false, true},
		{`rm -rf "$DIR"/*`, false, true},
		{`rm -rf $1`, false, true},
		{`rm -rf "$(cat /tmp/list)"`, false, true},
		{`cd "$DIR" && rm -rf *`, false, true},
		{`rm -rf "$DIR/build"`, false, false},
		{`rm -rf /data/$DIR`, false, false},
		{`rm $OPTIONS /`, false, true},
		{`rm -rf "${DIR:-/}"`, true, true},
	} {
		for _, policy := range []hostler.RuleUnknown{hostler.UnknownIgnored, hostler.UnknownApplies} {
			r := own(hostler.RuleRefuse, "rm -r {system}")
			r.Unknown = policy
			want := tc.ignored
			if policy == hostler.UnknownApplies {
				want = tc.applies
			}
			if found := shellOf(set(t, r), tc.command); len(found) > 0 != want {
				t.Errorf("%s, unknown %s: %+v", tc.command, policy, found)
			}
		}
	}
}

// What cannot be judged at all is a rule of its own.
func TestUnknownCommands(t *testing.T) {
	r := hostler.CommandRule{Name: risk.UnknownCommand, Effect: hostler.RuleApprove, Unknown: hostler.UnknownApplies}
	for command, want := range map[string]bool{
		`$CMD -x`: true, `eval "$X"`: true, `bash -c "$1"`: true, `if then`: true, `python3 -c 'x()'`: true,
		`"$JAVA_HOME/bin/java" -jar x`: false, `ls $X`: false, `sh /opt/x.sh "$1"`: false,
	} {
		if found := shellOf(set(t, r), command); len(found) > 0 != want {
			t.Errorf("%s: %+v", command, found)
		}
	}
}

func TestPositionsAndTexts(t *testing.T) {
	found := shellOf(builtins(t), "uptime\n  D=/; rm -rf \"$D\"\n")
	if len(found) != 1 {
		t.Fatalf("%+v", found)
	}
	want := risk.Finding{
		Rule: "delete-system-files", Effect: hostler.RuleRefuse, Path: "command", Line: 2, Column: 8,
		Text: "rm -rf /", Certain: true,
	}
	if found[0] != want {
		t.Errorf("got %+v, want %+v", found[0], want)
	}
}

// What surrounds a text decides what it does: parameters, environment, input, folder.
func TestCommandsOfJobs(t *testing.T) {
	s := builtins(t)
	for name, c := range map[string]risk.Command{
		"argv":      {Kind: risk.Argv, Argv: []string{"/usr/bin/rm", "-rf", "/"}},
		"argv, sh":  {Kind: risk.Argv, Argv: []string{"sh", "-c", "rm -rf /"}},
		"stdin":     {Kind: risk.Argv, Argv: []string{"bash"}, Stdin: "rm -rf /"},
		"dir":       {Text: "rm -rf *", Dir: "/"},
		"parameter": {Text: `rm -rf "$1"`, Args: []string{"/"}},
		"all":       {Text: `rm "$@"`, Args: []string{"-rf", "/"}},
		"env":       {Text: `rm -rf $D`, Env: map[string]string{"D": "/"}},
		"fed":       {Text: `sh`, Stdin: "rm -rf /"},
		"foreign":   {Kind: risk.Foreign, Text: "import os\nos.system('rm -rf /')", Argv: []string{"python3"}},
		"cumulus":   {Kind: risk.Device, Text: "sudo rm -rf /", Platform: "cumulus_linux"},
	} {
		if found := s.Judge(c); len(found) == 0 || found[0].Rule != "delete-system-files" {
			t.Errorf("%s: %+v", name, found)
		}
	}
	secret := risk.Command{Text: `mysql -p"$P" -e 'select 1'`, Env: map[string]string{"P": risk.Unknown}}
	if found := s.Judge(secret); len(found) != 0 {
		t.Errorf("a secret in the environment: %+v", found)
	}
}

func TestOffRulesDoNotMatch(t *testing.T) {
	rules := risk.Builtin()
	for i := range rules {
		rules[i].Effect = hostler.RuleOff
	}
	if found := shellOf(set(t, rules...), "rm -rf /; reboot"); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

// The work does not depend on the input: what is too large, too deep or too much is
// refused by a rule.
func TestHugeCommandsAreBounded(t *testing.T) {
	s := builtins(t)
	const big = 1 << 20
	for name, text := range map[string]string{
		"subshells":     strings.Repeat("(", big),
		"substitutions": strings.Repeat("$(", big/2),
		"braces":        strings.Repeat("{ ", big/2),
		"if":            strings.Repeat("if ", big/3),
		"not":           strings.Repeat("! ", big/2),
		"expansions":    strings.Repeat("${a:-", big/5),
		"arithmetic":    "$((" + strings.Repeat("-", big),
		"parentheses":   "$((" + strings.Repeat("(", big),
		"tests":         "[[ " + strings.Repeat("! ", big/2),
		"quotes":        strings.Repeat(`"$(`, big/3),
		"backquotes":    strings.Repeat("`", big),
		"escapes":       "eval " + strings.Repeat(`\`, big),
		"pipes":         strings.Repeat("a|", big/2) + "a",
		"ands":          strings.Repeat("a&&", big/3) + "a",
		"commands":      strings.Repeat("a\n", big/2),
		"words":         "echo " + strings.Repeat("a ", big/2),
		"choices":       strings.Repeat("for a in 1 2 3 4 5 6 7 8; do ", 500) + "$a$a$a$a" + strings.Repeat("; done", 500),
		"doubling":      "X=aaaaaaaa; " + strings.Repeat("X=$X$X; ", 1000) + "$X",
		"brace words":   "echo " + strings.Repeat("{a,b}", 1000),
		"sequence":      "echo {1..1000000000}",
		"printf width":  "$(printf '%999999999d' 1)",
		"functions":     "f() { f; f; f; f; }; f",
		"mutual":        "f() { g; g; g; }; g() { f; f; f; }; f; g",
		"heredocs":      strings.Repeat("cat <<A\n", 50_000),
		"syntax errors": strings.Repeat("rm )\n", big/5),
		"evals":         strings.Repeat("eval ", 10_000) + "a",
		"sudo":          strings.Repeat("sudo ", 100_000) + "rm -rf /",
		"xargs":         "echo " + strings.Repeat("/a ", 100_000) + "| xargs -I{} sh -c 'echo {} {} {}'",
		"python":        "python3 -c '" + strings.Repeat(`"a b" `, 100_000) + "'",
		"sql":           "mysql -e '" + strings.Repeat("drop ", 100_000) + "'",
	} {
		began := time.Now()
		_ = shellOf(s, text)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%-15s %v", name, took)
		}
	}
	for name, text := range map[string]string{
		"too deep": strings.Repeat("(", 100_000) + "rm -rf /" + strings.Repeat(")", 100_000),
		"too many": strings.Repeat(":\n", 60_000) + "rm -rf /",
		"too long": strings.Repeat("#", 5<<20) + "\nrm -rf /",
		"nested":   nestedEval(30),
	} {
		if found := shellOf(s, text); len(found) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

func nestedEval(n int) string {
	return strings.Repeat("eval ", n) + "rm -rf /"
}

func FuzzJudge(f *testing.F) {
	s := builtins(f)
	for _, name := range []string{"harmful.txt", "harmless.txt"} {
		for _, e := range corpus(f, name, name == "harmful.txt") {
			f.Add(e.command, int(e.kind))
		}
	}
	f.Fuzz(func(t *testing.T, text string, kind int) {
		if strings.Contains(text, "\x00") {
			return // refused by the schemas of the actions
		}
		k := risk.Kind((kind%4 + 4) % 4)
		c := risk.Command{Kind: k, Text: text, Argv: strings.Fields(text)}
		found := s.Judge(c)
		for _, fd := range found {
			if !utf8.ValidString(fd.Text) || len(fd.Text) > 300 || strings.ContainsAny(fd.Text, "\n\x00") {
				t.Errorf("the text %q of a finding", fd.Text)
			}
		}
		if again := s.Judge(c); len(again) != len(found) {
			t.Errorf("two verdicts: %v and %v", found, again)
		}
	})
}
