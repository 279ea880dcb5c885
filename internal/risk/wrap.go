package risk

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// wrapper describes a program that runs another one, which its arguments name.
type wrapper struct {
	// values are the options that have a value, text those whose value is a text for a
	// shell.
	values, text string
	// skip is how many arguments precede the command.
	skip int
	// assigns: arguments NAME=value may precede the command.
	assigns bool
	// joined: the arguments are joined to a text for a shell. remote: of another host.
	joined, remote bool
	// after is the word that the command follows; it may occur anywhere.
	after string
	// fed: without a command, it runs what it reads as a shell does.
	fed bool
	// own handles what the fields cannot describe.
	own func(j *judge, st *shell, args []string, in string, at pos) string
}

// wrappers is the table of the programs that run others.
var wrappers map[string]wrapper

func init() { //nolint:gochecknoinits // the table and exec refer to each other
	wrappers = map[string]wrapper{
		"sudo": {
			values:  "-u -g -h -p -C -r -t -T -D -R -U --user --group --host --prompt --chdir --chroot",
			assigns: true, fed: true,
		},
		"doas":             {values: "-u -C -a"},
		"env":              {values: "-u -C --unset --chdir", text: "-S --split-string", assigns: true},
		"nohup":            {},
		"nice":             {values: "-n --adjustment"},
		"ionice":           {values: "-c -n -p --class --classdata"},
		"timeout":          {values: "-k -s --kill-after --signal", skip: 1},
		"setsid":           {},
		"stdbuf":           {values: "-i -o -e"},
		"chroot":           {values: "--userspec --groups", skip: 1, fed: true},
		"unshare":          {fed: true},
		"nsenter":          {values: "-t -S -G -r -w --target", fed: true},
		"time":             {values: "-f -o"},
		"command":          {},
		"builtin":          {},
		"exec":             {values: "-a"},
		"strace":           {values: "-e -o -p -s -u -P"},
		"ltrace":           {values: "-e -o -p -s -u"},
		"watch":            {values: "-n --interval", joined: true},
		"flock":            {values: "-w -E", text: "-c --command", skip: 1},
		"su":               {values: "-s -g -G -w --shell", text: "-c --command", skip: 1, fed: true},
		"runuser":          {values: "-u -g -G -s", text: "-c --command", fed: true},
		"script":           {text: "-c --command"},
		"busybox":          {},
		"toybox":           {},
		"chrt":             {values: "-T -P -D", skip: 1},
		"taskset":          {skip: 1},
		"numactl":          {values: "-m -N -C -p -i"},
		"systemd-run":      {values: "-u -p -t -E -H -M --unit --property --description --slice --on-active --uid --gid"},
		"setpriv":          {values: "--reuid --regid --groups"},
		"sshpass":          {values: "-p -f -d -P"},
		"catchsegv":        {},
		"dbus-run-session": {after: "--"},
		"firejail":         {},
		"unbuffer":         {values: "-p"},
		"proxychains":      {values: "-f"}, "proxychains4": {values: "-f"},
		"ssh": {
			values: "-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w", skip: 1, joined: true,
			remote: true, fed: true,
		},
		"rsh":          {values: "-l", skip: 1, joined: true, remote: true, fed: true},
		"pdsh":         {values: "-w -x -g -f -l -t -u -R", joined: true, remote: true},
		"pssh":         {values: "-h -H -l -p -o -e -t -O", joined: true, remote: true},
		"parallel-ssh": {values: "-h -H -l -p -o -e -t -O", joined: true, remote: true},
		"clush":        {values: "-w -g -x -f -l -o", joined: true, remote: true},
		"ansible":      {values: "-i -m -u -f -l -e", text: "-a --args", remote: true, skip: 1000},
		"salt":         {values: "-t", own: salt},
		"docker":       {own: container}, "podman": {own: container}, "nerdctl": {own: container}, "crictl": {own: container},
		"kubectl": {after: "--", remote: true}, "oc": {after: "--", remote: true},
		"lxc": {after: "--"}, "lxc-attach": {after: "--"}, "incus": {after: "--"},
		"xargs": {own: xargs}, "parallel": {own: xargs},
		"find": {own: find}, "fd": {own: find},
		"at": {own: fedOnly}, "batch": {own: fedOnly}, "crontab": {own: crontab},
		"tmux": {own: quotedTexts}, "screen": {own: screen},
		"vtysh": {own: deviceShell}, "cli": {own: deviceShell}, "FastCli": {own: deviceShell},
		"Cli": {own: deviceShell}, "clish": {own: deviceShell}, "vsh": {own: deviceShell},
		"expect": {own: quotedTexts}, "make": {own: noop},
	}
	for _, name := range languages {
		wrappers[name] = wrapper{own: languageText}
	}
}

// run evaluates the command that the arguments of a wrapper name.
func (w wrapper) run(j *judge, st *shell, args []string, in string, at pos) string {
	if w.own != nil {
		return w.own(j, st, args, in, at)
	}
	if w.after != "" {
		if i := slices.Index(args, w.after); i >= 0 {
			return j.exec(w.shell(st), args[i+1:], in, at)
		}
		return unknown
	}
	inside := w.shell(st)
	rest, found := w.options(j, inside, args, in, at)
	if found {
		return unknown
	}
	rest = rest[min(w.skip, len(rest)):]
	if len(rest) == 0 {
		if w.fed && in != unknown {
			return j.fedShell(inside, in, at)
		}
		return unknown
	}
	if w.joined {
		return j.shellText(strings.Join(rest, " "), inside, in, at)
	}
	return j.exec(inside, rest, in, at)
}

// shell is the state in which the command runs.
func (w wrapper) shell(st *shell) *shell {
	if w.remote {
		return fresh()
	}
	return st.child()
}

// options skips the options and assignments before the command, and evaluates the texts in
// them, which stand for a command.
func (w wrapper) options(j *judge, st *shell, args []string, in string, at pos) (rest []string, text bool) {
	values, texts := strings.Fields(w.values), strings.Fields(w.text)
	skipped := 0
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, value, assigned := strings.Cut(a, "=")
		switch {
		case a == "--":
			return append(rest, args[i+1:]...), text
		case slices.Contains(texts, name) && (assigned || i+1 < len(args)):
			if !assigned {
				i++
				value = args[i]
			}
			j.shellText(value, st, in, at)
			text = true
		case len(a) > 2 && slices.Contains(texts, a[:2]) && a[0] == '-' && a[1] != '-':
			j.shellText(a[2:], st, in, at)
			text = true
		case strings.HasPrefix(a, "-") && slices.Contains(values, a):
			i++
		case strings.HasPrefix(a, "-") && len(a) > 1 && skipped <= w.skip && len(rest) == skipped:
		case w.assigns && assigned && len(rest) == 0 && syntax.ValidName(name):
			st.vars[name] = []string{value}
		case len(rest) < w.skip:
			rest = append(rest, a)
			skipped++
		default:
			if len(texts) > 0 && w.skip > 0 && slices.ContainsFunc(args[i:], func(x string) bool {
				return slices.Contains(texts, x)
			}) {
				continue
			}
			return append(rest, args[i:]...), text
		}
	}
	return rest, text
}

func noop(*judge, *shell, []string, string, pos) string { return unknown }

func fedOnly(j *judge, st *shell, _ []string, in string, at pos) string {
	return j.fedShell(st.child(), in, at)
}

// crontab evaluates the commands of a table that it reads.
func crontab(j *judge, st *shell, args []string, in string, at pos) string {
	if !slices.Contains(args, "-") {
		return unknown
	}
	for line := range strings.SplitSeq(in, "\n") {
		words := strings.Fields(line)
		skip := 5
		if len(words) > 0 && strings.HasPrefix(words[0], "@") {
			skip = 1
		}
		if len(words) > skip && !strings.HasPrefix(words[0], "#") {
			j.shellText(strings.Join(words[skip:], " "), st.child(), "", at)
		}
	}
	return ""
}

// quotedTexts evaluates every argument with a blank in it as a text.
func quotedTexts(j *judge, st *shell, args []string, in string, at pos) string {
	for _, a := range args {
		if strings.Contains(strings.TrimSpace(a), " ") || a == "reload" {
			j.shellText(a, st.child(), in, at)
		}
	}
	return unknown
}

func screen(j *judge, st *shell, args []string, in string, at pos) string {
	w := wrapper{values: "-S -t -c -e -h -p -s -T -X"}
	return w.run(j, st, args, in, at)
}

// salt runs the function cmd.run on other hosts.
func salt(j *judge, _ *shell, args []string, in string, at pos) string {
	if i := slices.Index(args, "cmd.run"); i >= 0 && i+1 < len(args) {
		return j.shellText(args[i+1], fresh(), in, at)
	}
	return unknown
}

// container runs a command in a container: docker exec NAME CMD, docker run IMAGE CMD.
func container(j *judge, _ *shell, args []string, in string, at pos) string {
	verb := slices.IndexFunc(args, func(a string) bool { return a == "exec" || a == "run" })
	if verb < 0 {
		return unknown
	}
	const values = "-e -v -w -u -p -l -h -m -c --name --env --volume --workdir --user --network --net --mount " +
		"--entrypoint --env-file --label --hostname --publish --memory --cpus --restart --add-host --device --pid"
	w := wrapper{values: values, skip: 1, remote: true}
	return w.run(j, fresh(), args[verb+1:], in, at)
}

// xargs runs a command with what it reads as further arguments.
func xargs(j *judge, st *shell, args []string, in string, at pos) string {
	const values = "-n -L -P -s -d -E -a --max-args --max-procs --max-lines --delimiter --arg-file -j --jobs"
	w := wrapper{values: values + " -I --replace"}
	replace := ""
	for i, a := range args {
		if rest, ok := strings.CutPrefix(a, "-I"); ok {
			if replace = rest; rest == "" && i+1 < len(args) {
				replace = args[i+1]
			}
		}
		if !strings.HasPrefix(a, "-") && !hasPrevious(args, i, "-I") {
			break
		}
	}
	if j.budget.exceeded {
		return unknown
	}
	rest, _ := w.options(j, st.child(), args, in, at)
	if len(rest) == 0 {
		return in
	}
	given := strings.Fields(strings.ReplaceAll(in, "\x00", " "+unknown+" "))
	if len(given) == 0 {
		given = []string{unknown}
	}
	if replace == "" && slices.Contains(rest, "{}") {
		replace = "{}"
	}
	if replace == "" {
		return j.exec(st.child(), slices.Concat(rest, given[:min(len(given), 200)]), unknown, at)
	}
	for _, g := range given[:min(len(given), 50)] {
		one := slices.Clone(rest)
		for i := range one {
			one[i] = limited(strings.ReplaceAll(one[i], replace, g), maxValue)
		}
		j.exec(st.child(), one, unknown, at)
	}
	return unknown
}

func hasPrevious(args []string, i int, want string) bool { return i > 0 && args[i-1] == want }

// find evaluates the commands of -exec with each folder that is searched, and -delete as
// their removal.
func find(j *judge, st *shell, args []string, in string, at pos) string {
	roots := foundBy(args)
	for i, a := range args {
		switch a {
		case "-delete":
			j.match("rm", slices.Concat([]string{"-rf"}, roots), st.cwd, at, "find "+strings.Join(args, " "))
		case "-exec", "-execdir", "-ok", "-okdir", "-x", "--exec":
			end := i + 1
			for end < len(args) && args[end] != ";" && args[end] != "+" {
				end++
			}
			for _, root := range roots[:min(len(roots), maxChoices)] {
				one := slices.Clone(args[i+1 : end])
				for k := range one {
					one[k] = limited(strings.ReplaceAll(one[k], "{}", root), maxValue)
				}
				if len(one) > 0 && slices.Contains([]string{"rm", "unlink", "shred"}, programName(one[0])) {
					one = slices.Insert(one, 1, "-r") // find descends for it
				}
				j.exec(st.child(), one, in, at)
			}
		}
	}
	return strings.Join(roots, "\n")
}

// deviceShell evaluates the lines that a program gives to the CLI of a device.
func deviceShell(j *judge, _ *shell, args []string, in string, at pos) string {
	for i, a := range args {
		if i > 0 && !strings.HasPrefix(a, "-") {
			for line := range strings.Lines(a) {
				j.deviceWords(strings.Fields(line), at, true)
			}
		}
	}
	if in != unknown {
		for line := range strings.Lines(in) {
			j.deviceWords(strings.Fields(line), at, true)
		}
	}
	return unknown
}
