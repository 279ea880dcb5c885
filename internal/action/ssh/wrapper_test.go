package ssh

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// shells returns the kinds of /bin/sh that the wrapper must work in, with busybox where it is
// installed.
func shells(t testing.TB) []string {
	t.Helper()
	for _, sh := range []string{"dash", "bash"} {
		if _, err := exec.LookPath(sh); err != nil {
			t.Fatalf("no %s; on Debian: apt-get install %s", sh, sh)
		}
	}
	all := []string{"/bin/dash", "/bin/bash"}
	if path, err := exec.LookPath("busybox"); err == nil {
		all = append(all, path+" sh")
	}
	return all
}

// runLocally runs a program through the wrapper in a local shell.
func runLocally(t testing.TB, sh string, p program) (stdout, stderr string, code int) {
	t.Helper()
	const nonce = "hstTESTNONCE"
	payload := p.payload(nonce)
	line := strings.ReplaceAll(bootLine(nonce, len(payload), p), "/bin/sh", sh)
	cmd := exec.Command("/bin/dash", "-c", line)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SHELL="+loginShell(sh))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	r := bufio.NewReader(out)
	expectLine(t, r, `^hstTESTNONCE ready\n$`)
	if _, err := io.WriteString(in, payload); err != nil {
		t.Fatal(err)
	}
	expectLine(t, r, `^hstTESTNONCE started [1-9][0-9]* [1-9][0-9]*\n$`)
	go func() {
		_, _ = io.WriteString(in, p.stdin)
		_ = in.Close()
	}()
	rest, _ := io.ReadAll(r)
	_ = cmd.Wait()
	return string(rest), errs.String(), cmd.ProcessState.ExitCode()
}

// loginShell returns a login shell of the same kind; $SHELL is a single path.
func loginShell(sh string) string {
	if strings.HasSuffix(sh, " sh") {
		return "/bin/dash"
	}
	return sh
}

func expectLine(t testing.TB, r *bufio.Reader, pattern string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || !regexp.MustCompile(pattern).MatchString(line) {
		t.Fatalf("got line %q (%v), want %s", line, err, pattern)
	}
}

// Every byte of words, variables and standard input arrives unchanged, in every shell.
func FuzzBytesArrive(f *testing.F) {
	every := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	f.Add(string(every), string(every), string(every))
	f.Add("", "", "")
	f.Add("-n", "\n\n", "$(id)`id`\n")
	f.Add("'\\''", "\x01\x7f\x81\x88", "\x00\xff")
	f.Add("\"; rm -rf x; '", "a'b\"c\\", "line\r\n")
	f.Fuzz(func(t *testing.T, arg, value, stdin string) {
		if strings.Contains(arg+value, "\x00") || len(arg)+len(value) > 50_000 {
			return
		}
		want := "-" + arg + "\x00" + arg + "\x00" + value + "\x00" + stdin
		env := map[string]string{"HST_VALUE": value, "s": value, "p": value}
		text := `printf '%s\0' "$@" "$HST_VALUE"; cat # ` + strings.ReplaceAll(arg, "\n", "") + "\n"
		for _, sh := range shells(t) {
			for name, p := range map[string]program{
				"script":  {script: &script{text: text, interpreter: "/bin/dash", args: []string{"-" + arg, arg}}},
				"argv":    {argv: []string{"/bin/dash", "-c", `printf '%s\0' "$@" "$HST_VALUE"; cat`, "x", "-" + arg, arg}},
				"command": {command: "set -- " + quote("-"+arg) + " " + quote(arg) + `; printf '%s\0' "$@" "$HST_VALUE"; cat`},
			} {
				p.env, p.stdin = env, stdin
				got, errs, code := runLocally(t, sh, p)
				if diff := cmp.Diff(want, got); diff != "" || code != 0 || errs != "" {
					t.Fatalf("%s by %s: code %d, stderr %q (-want +got):\n%s", name, sh, code, errs, diff)
				}
			}
		}
	})
}

func TestWrapperStatusAndSession(t *testing.T) {
	for _, sh := range shells(t) {
		for command, want := range map[string]int{
			"exit 0": 0, "exit 1": 1, "exit 113": 113, "exit 255": 255,
			"kill -TERM $$": 143, "kill -KILL $$": 137, "kill -INT $$; sleep 1": 130,
		} {
			if _, errs, code := runLocally(t, sh, program{command: command}); code != want || errs != "" {
				t.Errorf("%s by %s: got %d %q, want %d", command, sh, code, errs, want)
			}
		}
		// bash ignores QUIT itself; a program must not inherit that.
		quit := program{argv: []string{"/bin/dash", "-c", "kill -QUIT $$; sleep 1"}}
		if _, _, code := runLocally(t, sh, quit); code != 131 {
			t.Errorf("QUIT by %s: got %d, want 131", sh, code)
		}
		out, _, _ := runLocally(t, sh,
			program{argv: []string{"/bin/dash", "-c", "read -r s </proc/self/stat; set -- $s; echo $1 $5 $6"}})
		ids := strings.Fields(out)
		if len(ids) != 3 || ids[0] != ids[1] || ids[0] != ids[2] {
			t.Errorf("%s: pid, group and session differ: %q", sh, out)
		}
	}
}

// A payload that arrives truncated must not run.
func TestTruncatedPayloadDoesNotRun(t *testing.T) {
	const nonce = "hstTESTNONCE"
	mark := t.TempDir() + "/ran"
	p := program{command: "touch " + mark}
	payload := p.payload(nonce)
	for _, sh := range shells(t) {
		for _, cut := range []int{0, 1, len(payload) / 2, len(payload) - len(nonce), len(payload) - 1} {
			line := strings.ReplaceAll(bootLine(nonce, len(payload), p), "/bin/sh", sh)
			cmd := exec.Command("/bin/dash", "-c", line)
			cmd.Stdin = strings.NewReader(payload[:cut])
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != exitSetUp {
				t.Errorf("%s, cut at %d: exit code %d", sh, cut, got)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Fatalf("%s, cut at %d: it ran", sh, cut)
			}
		}
	}
}

// Without setsid the wrapper uses perl, and without both job control.
func TestWrapperWithoutSetsid(t *testing.T) {
	all := shells(t)
	for name, tools := range map[string][]string{"perl": {"head", "perl"}, "job control": {"head"}} {
		dir := t.TempDir()
		for _, tool := range tools {
			path, err := exec.LookPath(tool)
			if err != nil {
				t.Fatalf("no %s; on Debian: apt-get install %s", tool, tool)
			}
			if err := os.Symlink(path, dir+"/"+tool); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", dir)
			for _, sh := range all {
				if name == "job control" && sh != "/bin/bash" {
					mustShareGroup(t, sh) // no job control without a terminal
					continue
				}
				out, errs, _ := runLocally(t, sh,
					program{argv: []string{"/bin/dash", "-c", "read -r s </proc/self/stat; set -- $s; echo $1 $5"}})
				ids := strings.Fields(out)
				if len(ids) != 2 || ids[0] != ids[1] || errs != "" {
					t.Errorf("%s: pid and group differ: %q %q", sh, out, errs)
				}
			}
		})
	}
}

// mustShareGroup checks that a program without a group of its own reports the process id 0.
func mustShareGroup(t *testing.T, sh string) {
	t.Helper()
	const nonce = "hstTESTNONCE"
	p := program{argv: []string{"/bin/dash", "-c", "echo ran"}}
	payload := p.payload(nonce)
	cmd := exec.Command("/bin/dash", "-c", strings.ReplaceAll(bootLine(nonce, len(payload), p), "/bin/sh", sh))
	cmd.Stdin = strings.NewReader(payload)
	out, err := cmd.Output()
	if err != nil || !regexp.MustCompile(`ready\n\S+ started 0 \d+\nran\n$`).Match(out) {
		t.Errorf("%s: got %q %v", sh, out, err)
	}
}

func TestParseProcess(t *testing.T) {
	for words, want := range map[string]process{
		"42 7": {pid: 42, start: "7"}, "0 7": {}, "1 7": {}, "-5 7": {}, "42": {}, "42 x": {}, "42 -1": {}, "42 '7'": {}, "": {}, "1 2 3": {},
	} {
		if got := parseProcess(strings.Fields(words)); got != want {
			t.Errorf("%q: got %+v, want %+v", words, got, want)
		}
	}
}

// A group that ignores TERM is killed, and verified to be gone.
func TestKillEndsAGroup(t *testing.T) {
	for _, sh := range shells(t) {
		leader := exec.Command("setsid", "/bin/dash", "-c", `trap "" TERM; sleep 60 & while :; do sleep 1; done`)
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = leader.Wait() }()
		words := strings.Fields(sh)
		text := killScript(process{pid: leader.Process.Pid, start: startTime(t, leader.Process.Pid)},
			100*time.Millisecond)
		out, err := exec.Command(words[0], append(words[1:], "-c", text)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "killed" {
			t.Errorf("%s: got %q %v, want killed", sh, out, err)
			_ = leader.Process.Kill()
		}
		<-done
	}
}

func startTime(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))[19]
}

// A process with a reused id is not killed.
func TestKillIgnoresAReusedID(t *testing.T) {
	for _, sh := range shells(t) {
		victim := exec.Command("setsid", "sleep", "60")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(sh)
		out, err := exec.Command(words[0], append(words[1:], "-c", killScript(process{pid: victim.Process.Pid, start: "1"}, 100*time.Millisecond))...).
			CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "ended" {
			t.Errorf("%s: got %q %v, want ended", sh, out, err)
		}
		if err := victim.Process.Kill(); err != nil {
			t.Errorf("%s: the other process was killed: %v", sh, err)
		}
		if err := victim.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Errorf("%s: the other process ended by %v", sh, err)
		}
	}
}

func TestSchemas(t *testing.T) {
	f := New(Options{})
	cases := map[string]struct{ good, bad []string }{
		"ssh_command": {
			good: []string{
				`{"command":"uptime"}`,
				`{"commands":["a","b"],"keep_going":true}`,
				`{"command":"a","env":{"A_1":"x"},"stdin":"y","run_as":"root","sudo_credential":"s"}`,
			},
			bad: []string{
				`{}`, `{"command":""}`, `{"command":1}`, `{"command":"a","x":1}`, `{"command":"a\u0000b"}`,
				`{"command":"a","env":{"1A":"x"}}`, `{"command":"a","env":{"A-B":"x"}}`, `{"command":"a","env":{"A=B":"x"}}`,
				`{"command":"a","env":{"A":"\u0000"}}`, `{"command":"a","run_as":"-u"}`, `{"command":"a","run_as":"a;b"}`,
				`{"command":"a","sudo_credential":"s"}`, `{"commands":[]}`, `{"commands":"a"}`, `{"commands":[""]}`,
				`{"commands":["a\u0000"]}`, `{"commands":[1]}`, `{"command":"a","keep_going":true}`,
			},
		},
		"ssh_script": {
			good: []string{
				`{"script":"a","interpreter":"/usr/bin/env","args":["-x",""]}`,
				`{"script":"a","interpreter":"python3"}`,
			},
			bad: []string{
				`{"script":"a","interpreter":"-c"}`, `{"script":"a","interpreter":"a b"}`, `{"script":"a","interpreter":"../x"}`,
				`{"script":"a","interpreter":"/-x"}`, `{"script":"a","args":"x"}`, `{"script":"a","args":["\u0000"]}`, `{"script":""}`,
			},
		},
		"service": {
			good: []string{
				`{"name":"nginx","operation":"start"}`,
				`{"name":"getty@tty1.service","operation":"status","settle_s":0}`,
			},
			bad: []string{
				`{"name":"nginx"}`, `{"name":"-x","operation":"start"}`, `{"name":"a b","operation":"start"}`,
				`{"name":"a;b","operation":"start"}`, `{"name":"a","operation":"mask"}`, `{"name":"a/b","operation":"start"}`,
			},
		},
		"file_copy": {
			good: []string{
				`{"direction":"upload","path":"/etc/app.conf","content":"","mode":"0640","sudo":true,"owner":"app:app"}`,
				`{"direction":"download","path":"/etc/hosts","name":"hosts"}`,
			},
			bad: []string{
				`{"direction":"upload"}`, `{"direction":"both","path":"/a"}`, `{"direction":"upload","path":"a","content":""}`,
				`{"direction":"upload","path":"/a\n","content":""}`, `{"direction":"upload","path":"/a","content":"","mode":"4755"}`,
				`{"direction":"upload","path":"/a","content":"","owner":"app"}`, `{"direction":"upload","path":"/a","artefact":"../1"}`,
				`{"direction":"upload","path":"/a","content":"","sudo":true,"owner":"-R"}`,
				`{"direction":"upload","path":"/a","content":"","sudo_credential":"s"}`,
			},
		},
		"archive": {
			good: []string{`{"paths":["/etc/app","/-x"],"exclude":["*.tmp"],"format":"zip","name":"a.zip"}`},
			bad: []string{
				`{}`, `{"paths":[]}`, `{"paths":["a"]}`, `{"paths":["/a","/a"]}`, `{"paths":["/a"],"format":"rar"}`,
				`{"paths":["/a\u0000"]}`, `{"paths":["/a"],"exclude":[""]}`, `{"paths":["/a"],"sudo_credential":"s"}`,
			},
		},
		"file_cleanup": {
			good: []string{
				`{"path":"/var/log/app","glob":"*.log","older_than":"30d","recursive":true}`, `{"path":"/srv/x","keep_newest":0}`,
			},
			bad: []string{
				`{"path":"/var/log/app"}`, `{"older_than":"30d"}`, `{"path":"/","older_than":"30d"}`, `{"path":"x","older_than":"30d"}`,
				`{"path":"/x","older_than":"30"}`, `{"path":"/x","older_than":"-1d"}`, `{"path":"/x","keep_newest":-1}`,
				`{"path":"/x","keep_newest":1,"glob":"../*"}`, `{"path":"/x","keep_newest":1,"glob":""}`,
			},
		},
		"backup_db": {
			good: []string{
				`{"engine":"postgres","database":"app","run_as":"postgres"}`,
				`{"engine":"mysql","database":"shop","host":"::1","port":3306,"user":"backup","credential":"c"}`,
			},
			bad: []string{
				`{"engine":"postgres"}`, `{"engine":"oracle","database":"a"}`, `{"engine":"postgres","database":"-f x"}`,
				`{"engine":"postgres","database":"host=x"}`, `{"engine":"postgres","database":"postgres://x"}`,
				`{"engine":"postgres","database":"a","host":"-x"}`, `{"engine":"postgres","database":"a","user":"-x"}`,
				`{"engine":"postgres","database":"a","port":1}`, `{"engine":"postgres","database":"a","credential":"c"}`,
			},
		},
		"check_ssh":       {good: []string{`{}`}, bad: []string{`{"port":22}`, `[]`}},
		"restart_service": {good: []string{`{"name":"nginx"}`}, bad: []string{`{}`, `{"name":"a","operation":"kill"}`}},
	}
	for _, a := range f.Actions() {
		schema := compile(t, a.Name, a.Schema)
		c, ok := cases[a.Name]
		if !ok {
			t.Errorf("%s: no cases", a.Name)
		}
		for _, args := range c.good {
			if err := validate(t, schema, args); err != nil {
				t.Errorf("%s refuses %s: %v", a.Name, args, err)
			}
			if a.Check != nil && len(a.Check([]byte(args))) > 0 {
				t.Errorf("%s refuses %s: %v", a.Name, args, a.Check([]byte(args)))
			}
		}
		for _, args := range c.bad {
			if validate(t, schema, args) == nil {
				t.Errorf("%s takes %s", a.Name, args)
			}
		}
		if a.Title.ZH == "" || a.Help.ZH == "" || a.Title.EN == "" || a.Help.EN == "" {
			t.Errorf("%s: a text is missing", a.Name)
		}
	}
}

func compile(t *testing.T, name string, raw []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return schema
}

func validate(t *testing.T, s *jsonschema.Schema, args string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(args))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestChecks(t *testing.T) {
	for args, want := range map[string]string{
		`{"command":"a","env":{"UID":"0"}}`:            "env.UID",
		`{"command":"a","env":{"SHELLOPTS":"x"}}`:      "env.SHELLOPTS",
		`{"command":"a","env":{"A":"` + long() + `"}}`: "env",
		`{}`:                               "command",
		`{"command":"a","commands":["b"]}`: "commands",
		`{"commands":["b"],"stdin":"x"}`:   "stdin",
	} {
		errs := checkCommand(json.RawMessage(args))
		if len(errs) != 1 || errs[0].Path != want || errs[0].Text.ZH == "" {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
	errs := checkScript(json.RawMessage(`{"script":"a","args":["` + long() + `"]}`))
	if len(errs) != 1 || errs[0].Path != "args" {
		t.Errorf("got %v", errs)
	}
	if got := sudoCredential(json.RawMessage(`{"sudo_credential":"s"}`)); len(got) != 1 || got[0].Name != "s" || got[0].Use != "sudo" {
		t.Errorf("credentials: got %v", got)
	}
}

func long() string { return strings.Repeat("x", maxArgvBytes+1) }

// TestSignalNames: a host may send anything as the name of the signal that ended its shell.
func TestSignalNames(t *testing.T) {
	for given, want := range map[string]string{
		"KILL": "KILL", "XCPU@openssh.com": "XCPU@openssh.com", "": "unknown",
		"KILL\nroot: all is well": "unknown", "\x1b[2J": "unknown", strings.Repeat("K", 33): "unknown",
	} {
		if got := signalName(given); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}
